package azure_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	identityID = "99999999-8888-7777-6666-555555555555"
	resourceID = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kubelet"
	clientID   = azuretest.DefaultClientID
	tenant     = azuretest.DefaultTenant
)

// configs are one azure.json for each identity.
var configs = map[string]string{
	"system":           `{"tenantId":"` + tenant + `","useManagedIdentityExtension":true,"aadClientId":"msi","aadClientSecret":"msi"}`,
	"client id":        `{"tenantId":"` + tenant + `","useManagedIdentityExtension":true,"userAssignedIdentityID":"` + identityID + `"}`,
	"resource id":      `{"tenantId":"` + tenant + `","useManagedIdentityExtension":true,"userAssignedIdentityID":"` + strings.ToUpper(resourceID) + `"}`,
	"secret":           `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientSecret":"` + azuretest.DefaultClientSecret + `"}`,
	"secret in China":  `{"cloud":"AzureChinaCloud","tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientSecret":"` + azuretest.DefaultClientSecret + `"}`,
	"system in US Gov": `{"cloud":"AzureUSGovernment","tenantId":"` + tenant + `","useManagedIdentityExtension":true,"resourceManagerEndpoint":"https://management.usgovcloudapi.net/"}`,
}

// startCloud returns a stand-in with one registry.
func startCloud(t *testing.T, registry string) (*azuretest.Cloud, *azuretest.ACR) {
	t.Helper()
	cloud, err := azuretest.Start(azuretest.Options{Identities: []azuretest.Identity{{ClientID: identityID, ResourceID: resourceID}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	acr, err := cloud.AddACR(registry, azuretest.ACROptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cloud, acr
}

// source returns the source under test, pointed at the stand-in and in haste.
func source(t *testing.T, cloud *azuretest.Cloud, config string) *azure.Source {
	t.Helper()
	c, err := azure.ReadConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return azure.New(c, azure.Options{DialContext: cloud.DialContext, RootCAs: cloud.RootCAs(), RetryDelay: time.Millisecond})
}

func query(t *testing.T, registry string) credential.Query {
	t.Helper()
	host, err := mirror.ParseHost(registry)
	if err != nil {
		t.Fatal(err)
	}
	return credential.Query{Registry: host, Image: registry + "/app"}
}

var tokenText = regexp.MustCompile(`[\w-]+\.[\w-]+\.` + azuretest.Canary + `(\w+)-\w+`)

// lines writes requests as "METHOD URL {form}", the form sorted, each token as
// its kind. Forms of Entra ID's library are cut to what matters here.
func lines(requests ...azuretest.Request) []string {
	var list []string
	for _, r := range requests {
		line := r.Method + " " + r.URL
		if r.Form != nil {
			form, _ := url.QueryUnescape(r.Form.Encode())
			line += " {" + form + "}"
		}
		list = append(list, tokenText.ReplaceAllString(line, "<$1>"))
	}
	return list
}

func TestCredential(t *testing.T) {
	const (
		imds   = "GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01"
		forACR = "&resource=https%3A%2F%2Fcontainerregistry.azure.net"
	)
	signIn := func(host string) []string {
		return []string{
			"GET https://" + host + "/" + tenant + "/v2.0/.well-known/openid-configuration?",
			"POST https://" + host + "/" + tenant + "/oauth2/v2.0/token {client_id=" + clientID + "&client_secret=" + azuretest.DefaultClientSecret +
				"&grant_type=client_credentials&scope=https://containerregistry.azure.net/.default openid offline_access profile}",
		}
	}
	tests := map[string]struct {
		registry        string
		identity, entra []string
	}{
		"system":           {"contoso.azurecr.io", []string{imds + forACR}, nil},
		"client id":        {"contoso-abc123.azurecr.io", []string{imds + "&client_id=" + identityID + forACR}, nil},
		"resource id":      {"contoso.azurecr.io", []string{imds + "&msi_res_id=" + url.QueryEscape(strings.ToUpper(resourceID)) + forACR}, nil},
		"secret":           {"contoso.eastus2.geo.azurecr.io", nil, signIn("login.microsoftonline.com")},
		"secret in China":  {"contoso.azurecr.cn", nil, signIn("login.chinacloudapi.cn")},
		"system in US Gov": {"contoso.azurecr.us", []string{imds + forACR}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cloud, acr := startCloud(t, test.registry)
			before := time.Now()
			got, err := source(t, cloud, configs[name]).Credential(t.Context(), query(t, test.registry))
			if err != nil {
				t.Fatal(err)
			}
			if got.Username != azure.Username || tokenText.ReplaceAllString(got.Password.Reveal(), "<$1>") != "<refresh>" {
				t.Errorf("Credential() = %q, %q; want a refresh token", got.Username, got.Password.Reveal())
			}
			if life := got.Expires.Sub(before); life < 3*time.Hour-2*time.Second || life > 3*time.Hour+time.Minute {
				t.Errorf("Credential() expires in %s; want 3h", life)
			}
			want := []string{
				"GET https://" + test.registry + "/v2/",
				"POST https://" + test.registry + "/oauth2/exchange {access_token=<entra>&grant_type=access_token_refresh_token&refresh_token=<entra>&service=" + test.registry + "&tenant=" + tenant + "}",
			}
			for what, pair := range map[string][2][]string{
				"registry":          {lines(acr.Requests()...), want},
				"identity endpoint": {lines(cloud.Identity.Requests()...), test.identity},
				"Entra ID":          {lines(cloud.Entra.Requests()...), test.entra},
				"no other host":     {cloud.Refused(), nil},
			} {
				if !slices.Equal(pair[0], pair[1]) {
					t.Errorf("%s was asked\n%s\nwant\n%s", what, strings.Join(pair[0], "\n"), strings.Join(pair[1], "\n"))
				}
			}
			for _, r := range acr.Requests() {
				delete(r.Header, "Content-Length")
				want := "map[User-Agent:[mirrorcred]]"
				if r.Method == "POST" {
					want = "map[Content-Type:[application/x-www-form-urlencoded] User-Agent:[mirrorcred]]"
				}
				if got := fmt.Sprint(r.Header); got != want {
					t.Errorf("%s %s has headers %s; want %s", r.Method, r.URL, got, want)
				}
			}
		})
	}
}

// TestCredentialWorks takes the credential to the registry as containerd does,
// by POST and by GET, and pulls.
func TestCredentialWorks(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	if _, err := acr.PushRandom("team/app", "v1"); err != nil {
		t.Fatal(err)
	}
	got, err := source(t, cloud, configs["system"]).Credential(t.Context(), query(t, "contoso.azurecr.io:443"))
	if err != nil {
		t.Fatal(err)
	}
	pull(t, cloud, "contoso.azurecr.io", "team/app", got.Username, got.Password.Reveal())
}

func TestCredentialAsksOnlyLoginServers(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	for _, registry := range []string{
		"evilazurecr.io", "contoso.azurecr.io.evil.example", "contoso.azurecr.io:444", "contoso.azurecr.cn", "contoso.azurecr.us",
		"contoso.eastus2.data.azurecr.io", "contoso.privatelink.azurecr.io", "azurecr.io", "mcr.microsoft.com", "127.0.0.1",
	} {
		_, err := source(t, cloud, configs["system"]).Credential(t.Context(), query(t, registry))
		if err == nil || !strings.Contains(err.Error(), "is not a login server") {
			t.Errorf("Credential(%q) = %v; want that it is not a login server", registry, err)
		}
	}
	if _, err := source(t, cloud, configs["system"]).Credential(t.Context(), credential.Query{Image: "docker/contoso.azurecr.io/app"}); err == nil {
		t.Error("Credential() of no registry holds; want an error")
	}
	if got := slices.Concat(cloud.Refused(), lines(acr.Requests()...), lines(cloud.Identity.Requests()...)); len(got) > 0 {
		t.Errorf("asked %q; want nothing", got)
	}
}

func TestCredentialNeedsAnIdentity(t *testing.T) {
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	for config, want := range map[string]string{
		`{}`:                   "no identity is named; set useManagedIdentityExtension",
		`{"aadClientId":"id"}`: "aadClientSecret is missing",
		`{"aadClientId":"id","aadClientSecret":"` + secret + `"}`:                                  "tenantId is missing",
		`{"aadClientId":"id","aadClientCertPath":"/x"}`:                                            "tenantId is missing",
		`{"aadClientCertPath":"/x"}`:                                                               "aadClientId is missing",
		`{"tenantId":"t","aadClientId":"id","aadClientCertPath":"/nonesuch"}`:                      "aadClientCertPath: open /nonesuch: ",
		`{"tenantId":"t","aadClientId":"id","aadFederatedTokenFile":"/nonesuch"}`:                  "aadFederatedTokenFile: open /nonesuch: ",
		`{"aadClientId":"id","useFederatedWorkloadIdentityExtension":true}`:                        "useFederatedWorkloadIdentityExtension is true and aadFederatedTokenFile is missing; ",
		`{"identitySystem":"ADFS","tenantId":"t","aadClientId":"i","aadClientSecret":"x"}`:         "identitySystem: ",
		`{"useManagedIdentityExtension":true,"resourceManagerEndpoint":"http://arm.corp/"}`:        "resourceManagerEndpoint: ",
		`{"useManagedIdentityExtension":true,"cloud":"AzureStackCloud"}`:                           `cloud "AzureStackCloud": `,
		`{"tenantId":"no/tenant","aadClientId":"id","aadClientSecret":"` + secret + `"}`:           "service principal: login.microsoftonline.com after ",
		`{"useManagedIdentityExtension":true,"resourceManagerEndpoint":":","aadClientSecret":"x"}`: "resourceManagerEndpoint: ",
	} {
		_, err := source(t, cloud, config).Credential(t.Context(), query(t, "contoso.azurecr.io"))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Credential() with %s = %v; want %s…", config, err, want)
		}
		checkError(t, err)
	}
	if got := slices.Concat(lines(cloud.Identity.Requests()...), lines(cloud.Entra.Requests()...)); len(got) > 0 {
		t.Errorf("asked for tokens: %q; want none", got)
	}
	if n := len(acr.Requests()); n > 1 {
		t.Errorf("the registry was asked %d times; want once, for the tenant that is wrong", n)
	}
}

// TestProgram runs a program of its own that is pointed at the stand-in by the
// environment alone, as a built plugin is.
func TestProgram(t *testing.T) {
	cloud, _ := startCloud(t, "contoso.azurecr.io")
	for _, name := range []string{"system", "client id", "secret"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProgramMain$")
		cmd.Env = append(cloud.Env(), "AZURE_TEST_CONFIG="+configs[name])
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "got "+azure.Username) {
			t.Errorf("with %s: %v\n%s", name, err, out)
		}
	}
	if got := cloud.Refused(); len(got) > 0 {
		t.Errorf("the program went to %q; want to the stand-in alone", got)
	}
	for _, r := range cloud.Proxy.Requests() {
		if r.Method != "CONNECT" {
			t.Errorf("the proxy was asked %s %s; want CONNECT only", r.Method, r.URL)
		}
	}
	if n := len(cloud.Identity.Requests()); n != 2 {
		t.Errorf("the identity endpoint was asked %d times; want 2", n)
	}
}

func TestProgramMain(t *testing.T) {
	config := os.Getenv("AZURE_TEST_CONFIG")
	if config == "" {
		t.Skip("the program of TestProgram")
	}
	c, err := azure.ReadConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	got, err := azure.New(c, azure.Options{}).Credential(t.Context(), query(t, "contoso.azurecr.io"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("got", got.Username)
}

// TestProxyNotForIdentity runs if HTTP_PROXY is set before the first
// request, since net/http reads it once: the metadata service is dialled
// itself anyway, and so is a registry in NO_PROXY.
func TestProxyNotForIdentity(t *testing.T) {
	want := map[string][]string{"": {"CONNECT contoso.azurecr.io:443"}, ".azurecr.io": nil}
	except, inside := os.LookupEnv("AZURE_TEST_NO_PROXY")
	if !inside {
		for except := range want {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyNotForIdentity$")
			cmd.Env = append(os.Environ(), "AZURE_TEST_NO_PROXY="+except)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		}
		return
	}
	cloud, acr := startCloud(t, "contoso.azurecr.io")
	for _, v := range cloud.Env() {
		if key, value, _ := strings.Cut(v, "="); !strings.HasPrefix(key, "IDENTITY") {
			t.Setenv(key, value)
		}
	}
	t.Setenv("NO_PROXY", except)
	if _, err := source(t, cloud, configs["system"]).Credential(context.Background(), query(t, "contoso.azurecr.io")); err != nil {
		t.Fatal(err)
	}
	if got := lines(cloud.Proxy.Requests()...); !slices.Equal(got, want[except]) {
		t.Errorf("with NO_PROXY=%s the proxy was asked %q; want %q", except, got, want[except])
	}
	if a, b := len(acr.Requests()), len(cloud.Identity.Requests()); a != 2 || b != 1 {
		t.Errorf("registry asked %d times, identity endpoint %d; want 2 and 1", a, b)
	}
}
