package azure_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// Who there is besides the machine and its service principal, and what proves
// them.
const (
	podID       = "22222222-aaaa-bbbb-cccc-dddddddddddd"
	podTenant   = "33333333-aaaa-bbbb-cccc-dddddddddddd"
	podToken    = azuretest.Canary + "pod~token"
	fileID      = "44444444-aaaa-bbbb-cccc-dddddddddddd"
	boundID     = "55555555-aaaa-bbbb-cccc-dddddddddddd"
	fileToken   = azuretest.Canary + "file~token"
	bindingName = "binding.oic.example"
	apiServer   = "10.0.0.1"
	pfxPassword = azuretest.Canary + "pfx"
)

var (
	annotated = map[string]string{"kubernetes.azure.com/acr-client-id": podID, "kubernetes.azure.com/acr-tenant-id": podTenant}
	bothIDs   = func(o *azure.Options) { o.ClientID, o.TenantID = podID, podTenant }
)

// modes are the kinds of azure.json that [configs] has not.
var modes = map[string]string{
	"PEM":        `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientCertPath":"testdata/client.pem"}`,
	"PKCS#12":    `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientCertPath":"testdata/client.pfx","aadClientCertPassword":"` + pfxPassword + `"}`,
	"file":       `{"tenantId":"` + tenant + `","aadClientId":"` + fileID + `","useFederatedWorkloadIdentityExtension":true,"aadFederatedTokenFile":"/token"}`,
	"manager":    `{"cloud":"AzureCorp","tenantId":"` + tenant + `","resourceManagerEndpoint":"https://management.cloud.corp/","aadClientId":"` + clientID + `","aadClientSecret":"` + azuretest.DefaultClientSecret + `"}`,
	"stack":      `{"cloud":"AzureStackCloud","tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientSecret":"` + azuretest.DefaultClientSecret + `"}`,
	"no tenant":  `{"useManagedIdentityExtension":true}`,
	"no node id": `{"tenantId":"` + tenant + `"}`,
}

// A world is a stand-in with everything in it.
type world struct {
	*azuretest.Cloud
	acr     *azuretest.ACR
	binding *azuretest.Binding
	manager *azuretest.Component
	files   map[string]string // that the source can read
}

func startWorld(t *testing.T, registry string) world {
	t.Helper()
	data, err := os.ReadFile("testdata/client.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	w := world{files: map[string]string{"/token": fileToken + "\n"}}
	w.Cloud, err = azuretest.Start(azuretest.Options{Certificate: cert, Federations: []azuretest.Federation{
		{ClientID: podID, Tenant: podTenant, Assertion: podToken},
		{ClientID: fileID, Assertion: fileToken},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.acr, err = w.AddACR(registry, azuretest.ACROptions{})
	must(err)
	w.binding, err = w.AddBinding(bindingName, apiServer+":443",
		azuretest.Federation{ClientID: podID, Assertion: podToken}, azuretest.Federation{ClientID: boundID, Tenant: podTenant, Assertion: podToken})
	must(err)
	w.files["/ca.crt"] = string(w.binding.CA)
	w.manager, err = w.AddResourceManager("management.cloud.corp",
		azuretest.Environment{Name: "AzureCloud", Manager: "https://management.azure.com/", SignIn: "https://login.microsoftonline.com/", Registry: "azurecr.io"},
		azuretest.Environment{Name: "AzureCorp", Manager: "https://management.cloud.corp/", SignIn: "https://login.cloud.corp", Registry: ".azurecr.cloud.corp"})
	must(err)
	must(w.AddSignIn("login.cloud.corp"))
	w.files["/environment.json"] = `{"name":"AzureStackCloud","activeDirectoryEndpoint":"https://login.cloud.corp/","containerRegistryDNSSuffix":"azurecr.cloud.corp","tokenAudience":"x"}`
	return w
}

// options returns options that see the world alone, and the test's own files.
func (w world) options() azure.Options {
	return azure.Options{
		DialContext: w.DialContext, RootCAs: w.RootCAs(), RetryDelay: time.Millisecond,
		ReadFile: func(_ context.Context, path string) ([]byte, error) {
			if text, ok := w.files[path]; ok {
				return []byte(text), nil
			}
			return os.ReadFile(filepath.FromSlash(path))
		},
	}
}

func bind(t *testing.T) func(*azure.Options) {
	binding, err := azure.ParseBinding(bindingName, apiServer, "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	return func(o *azure.Options) { o.Binding = binding }
}

func newSource(t *testing.T, config string, o azure.Options) *azure.Source {
	t.Helper()
	c, err := azure.ReadConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return azure.New(c, o)
}

// asking returns an ask that carries a token, or none if that is "".
func asking(t *testing.T, registry, token string, annotations map[string]string) credential.Query {
	t.Helper()
	a := query(t, registry)
	a.ServiceAccountToken, a.ServiceAccountAnnotations = credential.Secret(token), annotations
	return a
}

var signature = regexp.MustCompile(`client_assertion=eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// asked returns who was asked what, without those who were not.
func (w world) asked() map[string][]string {
	all := map[string][]string{
		"registry": lines(w.acr.Requests()...), "Entra": lines(w.Entra.Requests()...), "metadata": lines(w.Identity.Requests()...),
		"binding": lines(w.binding.Requests()...), "manager": lines(w.manager.Requests()...), "nobody": w.Refused(),
	}
	maps.DeleteFunc(all, func(_ string, list []string) bool { return len(list) == 0 })
	for _, list := range all {
		for i, line := range list {
			list[i] = signature.ReplaceAllString(line, "client_assertion=<signed>")
		}
	}
	return all
}

// signIn is what Entra ID is asked by an application, its proof being a part
// of the form that sorts first.
func signIn(host, tenant, id, proof string) []string {
	base := "https://" + host + "/" + tenant
	form := "client_id=" + id + "&" + proof
	if strings.HasPrefix(proof, "client_assertion") {
		form = proof + "&client_id=" + id + "&client_info=1"
	}
	return []string{
		"GET " + base + "/v2.0/.well-known/openid-configuration?",
		"POST " + base + "/oauth2/v2.0/token {" + form + "&grant_type=client_credentials&scope=https://containerregistry.azure.net/.default openid offline_access profile}",
	}
}

const bearer = "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// TestModes holds every request of every mode.
func TestModes(t *testing.T) {
	const manager = "GET https://management.cloud.corp/metadata/endpoints?api-version=2019-05-01"
	machine := map[string][]string{"metadata": {"GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcontainerregistry.azure.net"}}
	workload := func(tenant string) map[string][]string {
		return map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, podID, "client_assertion="+podToken+bearer)}
	}
	bound := func(id string) map[string][]string {
		return map[string][]string{"binding": {"POST https://" + bindingName + "/ {client_assertion=" + podToken + bearer + "&client_id=" + id + "&grant_type=client_credentials&scope=https://containerregistry.azure.net/.default}"}}
	}
	half := map[string]string{"kubernetes.azure.com/acr-client-id": podID, "kubernetes.azure.com/acr-tenant-id": ""}
	tests := map[string]struct {
		config      string
		options     func(*azure.Options)
		token       string
		annotations map[string]string
		registry    string // "" is contoso.azurecr.io
		tenant      string // sent to the registry; "" is azure.json's
		want        map[string][]string
	}{
		"certificate, PEM":     {config: modes["PEM"], want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, clientID, "client_assertion=<signed>"+bearer)}},
		"certificate, PKCS#12": {config: modes["PKCS#12"], want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, clientID, "client_assertion=<signed>"+bearer)}},
		"certificate, open PKCS#12": {config: strings.NewReplacer("client.pfx", "open.pfx", pfxPassword, "").Replace(modes["PKCS#12"]),
			want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, clientID, "client_assertion=<signed>"+bearer)}},
		"certificate, PEM and a password for nothing": {config: strings.Replace(modes["PKCS#12"], "client.pfx", "client.pem", 1),
			want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, clientID, "client_assertion=<signed>"+bearer)}},
		"token file":             {config: modes["file"], want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, fileID, "client_assertion="+fileToken+bearer)}},
		"token file, not said":   {config: strings.Replace(modes["file"], "true", "false", 1), want: map[string][]string{"Entra": signIn("login.microsoftonline.com", tenant, fileID, "client_assertion="+fileToken+bearer)}},
		"pod":                    {config: configs["system"], token: podToken, annotations: annotated, tenant: podTenant, want: workload(podTenant)},
		"pod, defaults":          {config: configs["system"], options: bothIDs, token: podToken, tenant: podTenant, want: workload(podTenant)},
		"pod, half of each":      {config: configs["system"], options: func(o *azure.Options) { o.ClientID, o.TenantID = "other", podTenant }, token: podToken, annotations: half, tenant: podTenant, want: workload(podTenant)},
		"pod, secret on node":    {config: configs["secret"], token: podToken, annotations: annotated, tenant: podTenant, want: workload(podTenant)},
		"pod, nothing on node":   {config: modes["no node id"], token: podToken, annotations: annotated, tenant: podTenant, want: workload(podTenant)},
		"pod, required":          {config: configs["system"], options: func(o *azure.Options) { o.RequireServiceAccount = true }, token: podToken, annotations: annotated, tenant: podTenant, want: workload(podTenant)},
		"no token":               {config: configs["system"], options: bothIDs, annotations: annotated, want: machine},
		"no token, binding":      {config: configs["system"], options: bind(t), want: machine},
		"binding":                {config: configs["system"], options: bind(t), token: podToken, annotations: half, want: bound(podID)},
		"binding, defaults":      {config: modes["no tenant"], options: func(o *azure.Options) { bind(t)(o); o.ClientID, o.TenantID = boundID, podTenant }, token: podToken, tenant: podTenant, want: bound(boundID)},
		"binding, other tenant":  {config: configs["system"], options: bind(t), token: podToken, annotations: map[string]string{"kubernetes.azure.com/acr-client-id": boundID, "kubernetes.azure.com/acr-tenant-id": podTenant}, tenant: podTenant, want: bound(boundID)},
		"resource manager":       {config: modes["manager"], registry: "contoso.azurecr.cloud.corp", want: map[string][]string{"manager": {manager}, "Entra": signIn("login.cloud.corp", tenant, clientID, "client_secret="+azuretest.DefaultClientSecret)}},
		"environment":            {config: modes["stack"], options: func(o *azure.Options) { o.EnvironmentFile = "/environment.json" }, registry: "contoso.eastus.geo.azurecr.cloud.corp", want: map[string][]string{"Entra": signIn("login.cloud.corp", tenant, clientID, "client_secret="+azuretest.DefaultClientSecret)}},
		"environment and ARM":    {config: strings.Replace(modes["manager"], "AzureCorp", "azurestackcloud", 1), options: func(o *azure.Options) { o.EnvironmentFile = "/environment.json" }, registry: "contoso.azurecr.cloud.corp", want: map[string][]string{"Entra": signIn("login.cloud.corp", tenant, clientID, "client_secret="+azuretest.DefaultClientSecret)}},
		"stack without a file":   {config: strings.Replace(modes["manager"], "AzureCorp", "AzureStackCloud", 1), registry: "contoso.azurecr.cloud.corp", want: map[string][]string{"manager": {manager}, "Entra": signIn("login.cloud.corp", tenant, clientID, "client_secret="+azuretest.DefaultClientSecret)}},
		"pod in a private cloud": {config: modes["manager"], token: podToken, annotations: annotated, registry: "contoso.azurecr.cloud.corp", tenant: podTenant, want: map[string][]string{"manager": {manager}, "Entra": signIn("login.cloud.corp", podTenant, podID, "client_assertion="+podToken+bearer)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.registry == "" {
				test.registry = "contoso.azurecr.io"
			}
			if test.tenant == "" {
				test.tenant = tenant
			}
			w := startWorld(t, test.registry)
			o := w.options()
			if test.options != nil {
				test.options(&o)
			}
			got, err := newSource(t, test.config, o).Credential(t.Context(), asking(t, test.registry, test.token, test.annotations))
			if err != nil {
				t.Fatal(err)
			}
			if got.Username != azure.Username || tokenText.ReplaceAllString(got.Password.Reveal(), "<$1>") != "<refresh>" {
				t.Errorf("Credential() = %q, %q; want a refresh token", got.Username, got.Password.Reveal())
			}
			want := maps.Clone(test.want)
			want["registry"] = []string{
				"GET https://" + test.registry + "/v2/",
				"POST https://" + test.registry + "/oauth2/exchange {access_token=<entra>&grant_type=access_token_refresh_token&refresh_token=<entra>&service=" + test.registry + "&tenant=" + test.tenant + "}",
			}
			if asked := w.asked(); !maps.EqualFunc(asked, want, slices.Equal) {
				t.Errorf("asked\n%s\nwant\n%s", strings.Join(flat(asked), "\n"), strings.Join(flat(want), "\n"))
			}
			for _, r := range slices.Concat(w.binding.Requests(), w.manager.Requests()) {
				delete(r.Header, "Content-Length")
				want := "map[User-Agent:[mirrorcred]]"
				if r.Method == "POST" {
					want = "map[Content-Type:[application/x-www-form-urlencoded] User-Agent:[mirrorcred]]"
				}
				if got := fmt.Sprint(r.Header); got != want {
					t.Errorf("%s %s has headers %s; want %s", r.Method, r.URL, got, want)
				}
			}
			for _, r := range w.Entra.Requests() {
				if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "mirrorcred ") || r.Header.Get("Authorization") != "" {
					t.Errorf("Entra ID is asked with headers %v", r.Header)
				}
			}
		})
	}
}

func flat(m map[string][]string) []string {
	var list []string
	for _, who := range slices.Sorted(maps.Keys(m)) {
		for _, line := range m[who] {
			list = append(list, who+": "+line)
		}
	}
	return list
}

// TestTokenFileIsReadEachTime checks that a renewed token is seen.
func TestTokenFileIsReadEachTime(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.io")
	source := newSource(t, modes["file"], w.options())
	w.files["/token"] = azuretest.Canary + "old"
	_, err := source.Credential(t.Context(), query(t, "contoso.azurecr.io"))
	if err == nil || !strings.Contains(err.Error(), "AADSTS700213") {
		t.Errorf("Credential() by an old token = %v", err)
	}
	w.files["/token"] = fileToken
	if _, err := source.Credential(t.Context(), query(t, "contoso.azurecr.io")); err != nil {
		t.Error(err)
	}
}

func TestParseBinding(t *testing.T) {
	for _, test := range []struct {
		name, apiServer string
		ok              bool
	}{
		{"x.oic.example", "10.0.0.1", true},
		{"x.oic.example", "fd00::1", true},
		{"x.oic.example", "[fd00::1]:6443", true},
		{"x.oic.example", "10.0.0.1:6443", true},
		{"x.oic.example", "cluster.hcp.westeurope.azmk8s.io", true},
		{"x.oic.example:443", "10.0.0.1", false},
		{"https://x.oic.example", "10.0.0.1", false},
		{"x.oic.example/path", "10.0.0.1", false},
		{"u@x.oic.example", "10.0.0.1", false},
		{"", "10.0.0.1", false},
		{"x.oic.example", "", false},
		{"x.oic.example", "https://10.0.0.1", false},
		{"x.oic.example", "a b", false},
	} {
		got, err := azure.ParseBinding(test.name, test.apiServer, "/ca.crt")
		if (err == nil) != test.ok || (got != nil) != test.ok {
			t.Errorf("ParseBinding(%q, %q) = %v, %v; want %t", test.name, test.apiServer, got, err, test.ok)
		}
		checkError(t, err)
	}
}
