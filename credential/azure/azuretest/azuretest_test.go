package azuretest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

func start(t *testing.T, o azuretest.Options) (*azuretest.Cloud, *http.Client) {
	t.Helper()
	cloud, err := azuretest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: cloud.DialContext, TLSClientConfig: &tls.Config{RootCAs: cloud.RootCAs()}}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	return cloud, client
}

// send sends a request, its headers as pairs, and returns status and body. A
// POST's body is the form.
func send(t *testing.T, client *http.Client, method, address, form string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func field(t *testing.T, body, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	s, _ := m[name].(string)
	return s
}

const resource = "resource=https%3A%2F%2Fcontainerregistry.azure.net"

func TestIdentityEndpoint(t *testing.T) {
	id := azuretest.Identity{ClientID: "client", ResourceID: "/subscriptions/S/x"}
	cloud, client := start(t, azuretest.Options{Identities: []azuretest.Identity{id}, NoSystemIdentity: true})
	var endpoint, header string
	for _, v := range cloud.Env() {
		if s, ok := strings.CutPrefix(v, "IDENTITY_ENDPOINT="); ok {
			endpoint = s + "?"
		}
		if s, ok := strings.CutPrefix(v, "IDENTITY_HEADER="); ok {
			header = s
		}
	}
	const imds = "http://169.254.169.254/metadata/identity/oauth2/token?"
	tests := map[string]struct {
		url    string
		header [2]string
		status int
		said   string
	}{
		"client id":      {imds + "api-version=2018-02-01&client_id=CLIENT&" + resource, [2]string{"Metadata", "true"}, 200, ""},
		"resource id":    {imds + "api-version=2018-02-01&msi_res_id=%2Fsubscriptions%2Fs%2Fx&" + resource, [2]string{"Metadata", "true"}, 200, ""},
		"App Service":    {endpoint + "api-version=2019-08-01&mi_res_id=%2Fsubscriptions%2Fs%2Fx&" + resource, [2]string{"X-Identity-Header", header}, 200, ""},
		"no system":      {imds + "api-version=2018-02-01&" + resource, [2]string{"Metadata", "true"}, 400, "Identity not found"},
		"unknown":        {imds + "api-version=2018-02-01&client_id=other&" + resource, [2]string{"Metadata", "true"}, 400, "Identity not found"},
		"no header":      {imds + "api-version=2018-02-01&" + resource, [2]string{"X", "y"}, 400, "metadata header"},
		"no version":     {imds + resource, [2]string{"Metadata", "true"}, 400, "api-version"},
		"other resource": {imds + "api-version=2018-02-01&client_id=client&resource=x", [2]string{"Metadata", "true"}, 400, "AADSTS500011"},
		"wrong secret":   {endpoint + "api-version=2019-08-01&client_id=client&" + resource, [2]string{"X-Identity-Header", "x"}, 401, "X-IDENTITY-HEADER"},
	}
	for name, test := range tests {
		status, body := send(t, client, "GET", test.url, "", test.header[:]...)
		if status != test.status || !strings.Contains(body, test.said) || strings.Contains(body, azuretest.Canary) != (status == 200) {
			t.Errorf("%s: GET %s = %d %s; want %d %s", name, test.url, status, body, test.status, test.said)
		}
	}
}

// TestACR walks from the identity to a pull, and takes each wrong turn once.
func TestACR(t *testing.T) {
	now := time.Now()
	cloud, client := start(t, azuretest.Options{Now: func() time.Time { return now }})
	acr, err := cloud.AddACR("contoso.azurecr.io", azuretest.ACROptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.AddACR("contoso.azurecr.io", azuretest.ACROptions{}); err == nil {
		t.Error("AddACR() of a host twice holds; want an error")
	}
	digest, err := acr.PushRandom("app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://contoso.azurecr.io"
	_, body := send(t, client, "GET", "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&"+resource, "", "Metadata", "true")
	entra := field(t, body, "access_token")
	good := url.Values{"grant_type": {"access_token_refresh_token"}, "access_token": {entra}, "service": {"contoso.azurecr.io"}, "tenant": {azuretest.DefaultTenant}}
	for key, want := range map[string]int{"grant_type": 400, "access_token": 401, "service": 400, "tenant": 401} {
		form := url.Values{key: {"wrong"}}
		for k, v := range good {
			if k != key {
				form[k] = v
			}
		}
		if status, body := send(t, client, "POST", base+"/oauth2/exchange", form.Encode()); status != want {
			t.Errorf("exchange with a wrong %s = %d %s; want %d", key, status, body, want)
		}
	}
	_, body = send(t, client, "POST", base+"/oauth2/exchange", good.Encode())
	refresh := field(t, body, "refresh_token")
	token := func(form url.Values) (int, string) {
		form.Set("service", "contoso.azurecr.io")
		form.Set("scope", "repository:app:pull,push")
		return send(t, client, "POST", base+"/oauth2/token", form.Encode())
	}
	for name, form := range map[string]url.Values{
		"the Entra token":         {"grant_type": {"refresh_token"}, "refresh_token": {entra}},
		"another username":        {"grant_type": {"password"}, "username": {"me"}, "password": {refresh}},
		"nobody":                  {"grant_type": {"password"}},
		"a wrong client secret":   {"grant_type": {"password"}, "username": {azuretest.DefaultClientID}, "password": {"x"}},
		"an unknown grant at all": {"refresh_token": {refresh}},
	} {
		if status, body := token(form); status != 401 {
			t.Errorf("a token for %s = %d %s; want 401", name, status, body)
		}
	}
	if status, body := token(url.Values{"grant_type": {"password"}, "username": {azuretest.DefaultClientID}, "password": {azuretest.DefaultClientSecret}}); status != 200 {
		t.Errorf("a token for the service principal = %d %s; want 200", status, body)
	}
	_, body = token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	bearer := "Bearer " + field(t, body, "access_token")
	for path, want := range map[string]int{"/v2/app/manifests/" + digest: 200, "/v2/app/tags/list": 200, "/v2/other/manifests/v1": 401, "/v2/_catalog": 401} {
		if status, body := send(t, client, "GET", base+path, "", "Authorization", bearer); status != want {
			t.Errorf("GET %s = %d %s; want %d", path, status, body, want)
		}
	}
	if status, _ := send(t, client, "PUT", base+"/v2/app/manifests/v2", "{}", "Authorization", bearer); status != 401 {
		t.Errorf("a push = %d; want 401, since the role is to pull", status)
	}
	now = now.Add(5 * time.Minute)
	if status, _ := send(t, client, "GET", base+"/v2/", "", "Authorization", bearer); status != 401 {
		t.Errorf("an expired token = %d; want 401", status)
	}
}

func TestACRAnonymous(t *testing.T) {
	cloud, client := start(t, azuretest.Options{})
	for host, want := range map[string]int{"open.azurecr.io": 200, "closed.azurecr.io": 401, "harbor.corp:8443": 401} {
		acr, err := cloud.AddACR(host, azuretest.ACROptions{AllowAnonymous: want == 200})
		if err != nil {
			t.Fatal(err)
		}
		if status, body := send(t, client, "GET", "https://"+host+"/oauth2/token?service="+host+"&scope=repository:app:pull", ""); status != want {
			t.Errorf("an anonymous token of %s = %d %s; want %d", host, status, body, want)
		}
		if status, _ := send(t, client, "GET", "https://"+host+"/v2/app/manifests/v1", ""); status != 401 {
			t.Errorf("GET without a token of %s = %d; want 401", host, status)
		}
		if got := acr.Requests(); len(got) != 2 || got[1].URL != "https://"+host+"/v2/app/manifests/v1" {
			t.Errorf("%s recorded %v; want two requests", host, got)
		}
	}
}

func TestSourceTellsWhatItWasOffered(t *testing.T) {
	cloud, client := start(t, azuretest.Options{})
	source, err := cloud.AddSource("mcr.microsoft.com", azuretest.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://mcr.microsoft.com"
	for _, path := range []string{"/v2/", "/v2/app/manifests/v1", "/token?service=mcr.microsoft.com"} {
		if status, _ := send(t, client, "GET", base+path, ""); status != 401 {
			t.Errorf("GET %s = %d; want 401", path, status)
		}
	}
	if got := source.Offered(); len(got) > 0 {
		t.Errorf("Offered() = %v; want nothing", got)
	}
	send(t, client, "GET", base+"/v2/", "", "Authorization", "Basic eDp5")
	send(t, client, "POST", base+"/token", "grant_type=password&username=x&password=y")
	send(t, client, "GET", base+"/token?x="+azuretest.Canary, "")
	if got := source.Offered(); len(got) != 3 {
		t.Errorf("Offered() = %v; want three requests", got)
	}
	source.Forget()
	if got := source.Requests(); len(got) > 0 {
		t.Errorf("Requests() = %v after Forget; want none", got)
	}
}

// TestUnknownHostsRefused checks that unknown hosts are refused by the dialer, by the
// proxy and by the TLS port, and that they are told.
func TestUnknownHostsRefused(t *testing.T) {
	cloud, client := start(t, azuretest.Options{})
	if _, err := client.Get("https://unknown.example/"); err == nil {
		t.Error("GET of an unknown host holds; want an error")
	}
	var proxy *url.URL
	for _, v := range cloud.Env() {
		if s, ok := strings.CutPrefix(v, "HTTP_PROXY="); ok {
			var err error
			if proxy, err = url.Parse(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: cloud.RootCAs()}}}
	defer proxied.CloseIdleConnections()
	if _, err := proxied.Get("https://other.example/"); err == nil {
		t.Error("CONNECT to an unknown host holds; want an error")
	}
	if status, _ := send(t, proxied, "GET", "http://169.254.169.254/x", ""); status != 502 {
		t.Errorf("GET of the metadata service through the proxy = %d; want 502", status)
	}
	if got, want := cloud.Refused(), []string{"unknown.example:443", "other.example:443", "169.254.169.254"}; !slices.Equal(got, want) {
		t.Errorf("Refused() = %q; want %q", got, want)
	}
	if status, body := send(t, proxied, "GET", "https://login.microsoftonline.com/common/discovery/instance", ""); status != 200 {
		t.Errorf("GET through the proxy = %d %s; want 200", status, body)
	}
}
