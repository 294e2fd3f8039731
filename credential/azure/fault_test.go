package azure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// checkError holds what is true of every error: one line, and no secret.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, text := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(text, azuretest.Canary) {
			t.Errorf("the error holds a secret: %s", text)
		}
	}
	if text := err.Error(); strings.ContainsAny(text, "\n\r\t") || len(text) > 600 || !strings.Contains(text, "; ") {
		t.Errorf("the error is %q; want one line with a direction", text)
	}
}

const (
	v2       = "/v2/"
	exchange = "/oauth2/exchange"
	imdsPath = "/metadata/identity/oauth2/token"
)

// TestCredentialFaults breaks one thing at a time. The key names it; the value
// is who breaks and how, and what the error says.
func TestCredentialFaults(t *testing.T) {
	tests := map[string]struct {
		config string // "" is the system's identity
		who    string
		path   string
		fault  azuretest.Fault
		want   string
	}{
		"anonymous registry": {"", "acr", v2, azuretest.Reply(200, "{}"), "registry challenge: contoso.azurecr.io after "},
		"firewall":           {"", "acr", v2, azuretest.Reply(403, `{"errors":[{"code":"DENIED","message":"client with IP '203.0.113.7' is not allowed access"}]}`), "status 403 (client with IP '203.0.113.7' is not allowed access); allow the node's address"},
		"HTML at v2":         {"", "acr", v2, azuretest.HTML(), "status 200 (a page of HTML); "},
		"v2 hangs":           {"", "acr", v2, azuretest.Hang(), "registry challenge: no answer from contoso.azurecr.io within "},
		"v2 is down":         {"", "acr", v2, azuretest.Refuse(503), "status 503 at the last of 3 tries (refused by the test); try again later"},
		"v2 throttles long":  {"", "acr", v2, azuretest.Throttle(3600), `status 429, with Retry-After "3600"; try again later`},
		"v2 redirects":       {"", "acr", v2, azuretest.Redirect("evil.example"), "status 307, a redirect, which is not followed; "},
		"no header":          {"", "acr", v2, azuretest.Challenge(), "0 Www-Authenticate headers instead of one; "},
		"two headers":        {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST/oauth2/token",service="HOST"`, "Basic"), "2 Www-Authenticate headers"},
		"two in one header":  {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST/oauth2/token",service="HOST", Basic realm="x"`), "not one Bearer challenge: "},
		"Basic alone":        {"", "acr", v2, azuretest.Challenge("Basic"), `not one Bearer challenge: "Basic"; `},
		"Bearer alone":       {"", "acr", v2, azuretest.Challenge("Bearer"), "a challenge without a realm and a service; "},
		"long challenge":     {"", "acr", v2, azuretest.Challenge(`Basic x="` + strings.Repeat("y ", 5000) + `"`), "not one Bearer challenge: "},
		"realm elsewhere":    {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://evil.example/oauth2/token",service="HOST"`), `the realm "https://evil.example/oauth2/token" is not on the registry's own host, so it is not given the token; `},
		"realm as a prefix":  {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST.evil.example/oauth2/token",service="HOST"`), "is not on the registry's own host"},
		"realm as a user":    {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST@evil.example/oauth2/token",service="HOST"`), "is not on the registry's own host"},
		"realm with a user":  {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://u:p@HOST/oauth2/token",service="HOST"`), "is not on the registry's own host"},
		"realm in HTTP":      {"", "acr", v2, azuretest.Challenge(`Bearer realm="http://HOST/oauth2/token",service="HOST"`), "is not on the registry's own host"},
		"realm's port":       {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST:8443/oauth2/token",service="HOST"`), "is not on the registry's own host"},
		"service elsewhere":  {"", "acr", v2, azuretest.Challenge(`Bearer realm="https://HOST/oauth2/token",service="evil.azurecr.io"`), `the service "evil.azurecr.io" is not the registry; `},

		"exchange hangs":        {"", "acr", exchange, azuretest.Hang(), "registry token exchange: no answer from contoso.azurecr.io within "},
		"exchange refuses":      {"", "acr", exchange, azuretest.Refuse(401), "status 401 (refused by the test); give the identity that pulls the role AcrPull"},
		"exchange repeats":      {"", "acr", exchange, azuretest.Echo(401), "status 401 (cannot take map["},
		"exchange is down":      {"", "acr", exchange, azuretest.Refuse(500), "status 500 at the last of 3 tries"},
		"exchange redirects":    {"", "acr", exchange, azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"exchange is a page":    {"", "acr", exchange, azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"exchange has no end":   {"", "acr", exchange, azuretest.Endless(200), "an answer of more than 1 MiB; "},
		"exchange is empty":     {"", "acr", exchange, azuretest.Token(""), "refresh_token is empty or holds spaces or control characters; "},
		"exchange has newlines": {"", "acr", exchange, azuretest.Token(azuretest.Canary + "\nx"), "refresh_token is empty or holds"},
		"exchange has NUL":      {"", "acr", exchange, azuretest.Token(azuretest.Canary + "\x00"), "refresh_token is empty or holds"},

		"identity hangs":        {"", "identity", imdsPath, azuretest.Hang(), "managed identity: no answer from 169.254.169.254 within "},
		"no system identity":    {"", "identity", imdsPath, azuretest.Reply(400, `{"error":"invalid_request","error_description":"Identity not found"}`), "managed identity: 169.254.169.254 after "},
		"identity is a page":    {"", "identity", imdsPath, azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"identity has no end":   {"", "identity", imdsPath, azuretest.Endless(200), "the answer has no end; "},
		"its error has no end":  {"", "identity", imdsPath, azuretest.Endless(400), "the answer has no end; "},
		"identity is down":      {"", "identity", imdsPath, azuretest.Refuse(500), "status 500 at the last of 4 tries (refused by the test); try again later"},
		"identity updates":      {"", "identity", imdsPath, azuretest.Refuse(410), "status 410 at the last of 4 tries"},
		"identity throttles":    {"", "identity", imdsPath, azuretest.Throttle(3600), `status 429, with Retry-After "3600"; try again later`},
		"identity is empty":     {"", "identity", imdsPath, azuretest.Reply(200, `{"access_token":"","expires_in":"3599"}`), "managed identity: "},
		"identity has newlines": {"", "identity", imdsPath, azuretest.Reply(200, `{"access_token":"CANARY-\nx","expires_in":"3599","expires_on":"4102444800","token_type":"Bearer"}`), "a token that is empty or holds spaces"},
		"identity redirects":    {"", "identity", imdsPath, azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"identity unassigned":   {`{"useManagedIdentityExtension":true,"userAssignedIdentityID":"unknown"}`, "identity", "/none", nil, "status 400 (Identity not found); assign userAssignedIdentityID to this machine"},

		"Entra hangs":        {configs["secret"], "entra", "", azuretest.Hang(), "service principal: no answer from login.microsoftonline.com within "},
		"Entra is down":      {configs["secret"], "entra", "", azuretest.Refuse(503), "status 503 at the last of 4 tries"},
		"Entra is a page":    {configs["secret"], "entra", "", azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"Entra has no end":   {configs["secret"], "entra", "", azuretest.Endless(200), "the answer has no end; "},
		"Entra repeats":      {configs["secret"], "entra", "/" + tenant + "/oauth2/v2.0/token", azuretest.Echo(400), "status 400 (cannot take map["},
		"Entra redirects":    {configs["secret"], "entra", "/" + tenant + "/oauth2/v2.0/token", azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"Entra echoes as OK": {configs["secret"], "entra", "/" + tenant + "/oauth2/v2.0/token", azuretest.Reply(200, "not JSON "+azuretest.DefaultClientSecret), "an answer that is not the JSON of a token; "},
		"wrong secret":       {strings.Replace(configs["secret"], "~secret", "~stale", 1), "entra", "/none", nil, "status 401 (AADSTS7000215: Invalid client secret provided.); renew aadClientSecret"},
		"wrong client":       {strings.Replace(configs["secret"], clientID, "nobody", 1), "entra", "/none", nil, "was not found in the directory.); check aadClientId"},
		"wrong tenant":       {strings.Replace(configs["secret"], tenant, "elsewhere", 1), "entra", "/none", nil, "check tenantId and cloud"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, acr := startCloud(t, "contoso.azurecr.io")
			evil, err := cloud.AddSource("evil.example", azuretest.SourceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			map[string]*azuretest.Component{"acr": acr.Component, "identity": cloud.Identity, "entra": cloud.Entra}[test.who].Fail(test.path, test.fault)
			if test.config == "" {
				test.config = configs["system"]
			}
			config, err := azure.ReadConfig([]byte(test.config))
			if err != nil {
				t.Fatal(err)
			}
			// The step that hangs has little time, those before it enough for
			// a machine that is busy.
			requests, identity := 10*time.Second, 10*time.Second
			switch {
			case !strings.Contains(test.want, "no answer"):
			case test.who == "acr":
				requests = time.Second
			default:
				identity = 100 * time.Millisecond
			}
			started := time.Now()
			got, err := azure.New(config, azure.Options{
				DialContext: cloud.DialContext, RootCAs: cloud.RootCAs(), RetryDelay: time.Millisecond, IdentityLimit: identity, RequestLimit: requests,
			}).Credential(t.Context(), query(t, "contoso.azurecr.io"))
			if err == nil || !strings.Contains(err.Error(), test.want) || !got.Anonymous() {
				t.Errorf("Credential() = %v, %v; want %s", got, err, test.want)
			}
			t.Log(err)
			if strings.Contains(test.want, "no answer") != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Credential() = %v; want that the limit ended it, or not", err)
			}
			if took := time.Since(started); took > 9*time.Second {
				t.Errorf("Credential() took %s", took)
			}
			checkError(t, err)
			if test.path == v2 && len(cloud.Identity.Requests()) > 0 {
				t.Error("the identity was asked for a token that is not needed")
			}
			if len(evil.Requests()) > 0 {
				t.Errorf("evil.example was asked %q", lines(evil.Requests()...))
			}
		})
	}
}

// TestCredentialRecovers checks that what goes by is waited for.
func TestCredentialRecovers(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	acr.Fail(v2, azuretest.Times(2, azuretest.Refuse(503)))
	acr.Fail(exchange, azuretest.Times(1, azuretest.Reply(429, "", "Retry-After", "0")))
	cloud.Identity.Fail(imdsPath, azuretest.Times(3, azuretest.Refuse(404)))
	if _, err := source(t, cloud, configs["system"]).Credential(t.Context(), query(t, "contoso.azurecr.io")); err != nil {
		t.Fatal(err)
	}
	if a, b := len(acr.Requests()), len(cloud.Identity.Requests()); a != 5 || b != 4 {
		t.Errorf("the registry was asked %d times, the identity endpoint %d; want 5 and 4", a, b)
	}
}

// TestCredentialReadsLooseChallenges holds the forms that are odd and clear:
// a bare last value, other case and spaces, and the registry's own port.
func TestCredentialReadsLooseChallenges(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	for _, header := range []string{
		`Bearer realm="https://HOST/oauth2/token",service=HOST`,
		`bearer REALM = "https://HOST:443/oauth2/token" , Service="HOST", scope="x"`,
	} {
		acr.Fail(v2, azuretest.Challenge(header))
		if _, err := source(t, cloud, configs["system"]).Credential(t.Context(), query(t, "contoso.azurecr.io")); err != nil {
			t.Errorf("Credential() after %s = %v", header, err)
		}
	}
}

func TestCredentialEndsWithItsContext(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	for name, c := range map[string]*azuretest.Component{"registry challenge": acr.Component, "managed identity": cloud.Identity} {
		ctx, cancel := context.WithCancel(t.Context())
		c.Fail("", func(x *azuretest.Exchange) bool {
			cancel()
			return azuretest.Hang()(x)
		})
		_, err := source(t, cloud, configs["system"]).Credential(ctx, query(t, "contoso.azurecr.io"))
		if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("Credential() = %v; want %s to be canceled", err, name)
		}
		c.Repair()
		cancel()
	}
}

// TestCredentialUnreachable asks hosts that are not there, and one whose
// certificate that no known authority signed.
func TestCredentialUnreachable(t *testing.T) {
	cloud, _ := startCloud(t, "contoso.azurecr.io")
	_, err := source(t, cloud, configs["system"]).Credential(t.Context(), query(t, "fabrikam.azurecr.io"))
	if err == nil || !strings.Contains(err.Error(), "registry challenge: fabrikam.azurecr.io after ") {
		t.Errorf("Credential() = %v; want that fabrikam cannot be reached", err)
	}
	checkError(t, err)
	config, err := azure.ReadConfig([]byte(configs["system"]))
	if err != nil {
		t.Fatal(err)
	}
	_, err = azure.New(config, azure.Options{DialContext: cloud.DialContext}).Credential(t.Context(), query(t, "contoso.azurecr.io"))
	if err == nil || !strings.Contains(err.Error(), "its certificate is not trusted: ") {
		t.Errorf("Credential() = %v; want that the certificate is not trusted", err)
	}
	checkError(t, err)
}
