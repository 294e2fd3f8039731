package azuretest_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

const (
	signInURL = "https://login.microsoftonline.com/" + azuretest.DefaultTenant + "/oauth2/v2.0/token"
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	elsewhere = "99999999-2222-3333-4444-555555555555"
)

// tokenForm is the form of a request for a token; pairs are set in it, or
// taken out if the value is "".
func tokenForm(pairs ...string) string {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {azuretest.Resource + "/.default"}, "client_id": {azuretest.DefaultClientID}}
	for i := 0; i < len(pairs); i += 2 {
		if form.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	return form.Encode()
}

// sign returns a good assertion, but for what change does to its header and
// claims.
func sign(t *testing.T, pair tls.Certificate, change func(header, claims map[string]any)) string {
	t.Helper()
	sum := sha256.Sum256(pair.Certificate[0])
	now := time.Now().Unix()
	header := map[string]any{
		"alg": "PS256", "typ": "JWT",
		"x5t#S256": base64.StdEncoding.EncodeToString(sum[:]),
		"x5c":      []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])},
	}
	claims := map[string]any{
		"aud": signInURL, "iss": azuretest.DefaultClientID, "sub": azuretest.DefaultClientID, "jti": "1", "nbf": now, "exp": now + 600,
	}
	if change != nil {
		change(header, claims)
	}
	part := func(v map[string]any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(maps.Clone(header)) + "." + part(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPSS(rand.Reader, pair.PrivateKey.(*rsa.PrivateKey), crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestProofs takes each wrong turn with a proof of an application once.
func TestProofs(t *testing.T) {
	pair, err := tls.LoadX509KeyPair("../testdata/client.pem", "../testdata/client.pem")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	_, client := start(t, azuretest.Options{Certificate: cert, Federations: []azuretest.Federation{
		{ClientID: "pod", Tenant: elsewhere, Assertion: azuretest.Canary + "pod"},
	}})
	set := func(where int, key string, value any) string {
		return sign(t, pair, func(header, claims map[string]any) { []map[string]any{header, claims}[where][key] = value })
	}
	good := sign(t, pair, nil)
	there := strings.Replace(signInURL, azuretest.DefaultTenant, elsewhere, 1)
	tests := map[string]struct{ url, form, said string }{
		"signed":              {signInURL, tokenForm("client_assertion", good, "client_assertion_type", jwtBearer), ""},
		"no type":             {signInURL, tokenForm("client_assertion", good), "AADSTS50012"},
		"no proof":            {signInURL, tokenForm(), "AADSTS7000218"},
		"two proofs":          {signInURL, tokenForm("client_assertion", good, "client_assertion_type", jwtBearer, "client_secret", azuretest.DefaultClientSecret), "AADSTS7000218"},
		"other signature":     {signInURL, tokenForm("client_assertion", good[:len(good)-8]+"AAAAAAAA", "client_assertion_type", jwtBearer), "AADSTS700027"},
		"not a JWT":           {signInURL, tokenForm("client_assertion", "x.y", "client_assertion_type", jwtBearer), "AADSTS700027"},
		"other algorithm":     {signInURL, tokenForm("client_assertion", set(0, "alg", "RS256"), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"other thumbprint":    {signInURL, tokenForm("client_assertion", set(0, "x5t#S256", "x"), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"no chain":            {signInURL, tokenForm("client_assertion", set(0, "x5c", nil), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"other audience":      {signInURL, tokenForm("client_assertion", set(1, "aud", there), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"other issuer":        {signInURL, tokenForm("client_assertion", set(1, "iss", "x"), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"expired":             {signInURL, tokenForm("client_assertion", set(1, "exp", 1), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"too long a life":     {signInURL, tokenForm("client_assertion", set(1, "exp", time.Now().Unix()+7200), "client_assertion_type", jwtBearer), "AADSTS700027"},
		"federated":           {there, tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"pod", "client_assertion_type", jwtBearer), ""},
		"federated, other":    {there, tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"other", "client_assertion_type", jwtBearer), "AADSTS700213"},
		"federated elsewhere": {signInURL, tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"pod", "client_assertion_type", jwtBearer), "AADSTS700016"},
		"principal elsewhere": {there, tokenForm("client_secret", azuretest.DefaultClientSecret), "AADSTS700016"},
		"no such tenant":      {strings.Replace(signInURL, azuretest.DefaultTenant, "none", 1), tokenForm("client_secret", azuretest.DefaultClientSecret), "AADSTS90002"},
	}
	for name, test := range tests {
		status, body := send(t, client, "POST", test.url, test.form)
		if (status == 200) != (test.said == "") || !strings.Contains(field(t, body, "error_description"), test.said) || (field(t, body, "access_token") == "") == (test.said == "") {
			t.Errorf("%s: POST %s = %d %s; want %q", name, test.url, status, body, test.said)
		}
	}
}

func TestBinding(t *testing.T) {
	cloud, _ := start(t, azuretest.Options{})
	binding, err := cloud.AddBinding("binding.example", "10.0.0.1:443", azuretest.Federation{ClientID: "pod", Assertion: azuretest.Canary + "pod"})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(binding.CA) {
		t.Fatal("the CA is not PEM")
	}
	dial := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: cloud.DialContext}
	defer dial.CloseIdleConnections()
	// The name is not dialled; the API server's address is.
	byAddress := dial.Clone()
	byAddress.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return cloud.DialContext(ctx, network, "10.0.0.1:443")
	}
	client := &http.Client{Transport: byAddress}
	defer client.CloseIdleConnections()
	good := tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"pod", "client_assertion_type", jwtBearer)
	for form, want := range map[string]int{
		good: 200,
		tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"other", "client_assertion_type", jwtBearer): 401,
		tokenForm("client_id", "other", "client_assertion", azuretest.Canary+"pod", "client_assertion_type", jwtBearer): 401,
		tokenForm("client_id", "pod", "client_assertion", azuretest.Canary+"pod"):                                       400,
		strings.Replace(good, "default", "default+openid", 1):                                                           400,
	} {
		if status, body := send(t, client, "POST", "https://binding.example/", form); status != want || (field(t, body, "access_token") != "") != (want == 200) {
			t.Errorf("POST %s = %d %s; want %d", form, status, body, want)
		}
	}
	for _, path := range []string{"/x", "/?x"} {
		if status, _ := send(t, client, "POST", "https://binding.example"+path, good); status != 404 {
			t.Errorf("POST %s = %d; want 404", path, status)
		}
	}
	// Neither CA vouches for the other's hosts.
	if _, err := client.Get("https://login.microsoftonline.com/"); err == nil {
		t.Error("the cluster's CA vouches for Entra ID")
	}
	others := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cloud.RootCAs()}, DialContext: cloud.DialContext}}
	defer others.CloseIdleConnections()
	if _, err := others.Get("https://binding.example/"); err == nil {
		t.Error("the stand-in's CA vouches for the cluster")
	}
	if n := len(cloud.Refused()); n != 0 {
		t.Errorf("refused %q", cloud.Refused())
	}
}

func TestResourceManager(t *testing.T) {
	cloud, client := start(t, azuretest.Options{})
	if _, err := cloud.AddResourceManager("management.corp", azuretest.Environment{Name: "Corp", Registry: "azurecr.corp", SignIn: "https://login.corp/"}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"?api-version=2019-05-01": 200, "": 400} {
		status, body := send(t, client, "GET", "https://management.corp/metadata/endpoints"+query, "")
		if status != want || strings.Contains(body, `"acrLoginServer":"azurecr.corp"`) != (want == 200) {
			t.Errorf("GET %s = %d %s; want %d", query, status, body, want)
		}
	}
}
