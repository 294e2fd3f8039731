package azure_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestModeFaults breaks the parts that only some identities and clouds need,
// one at a time.
func TestModeFaults(t *testing.T) {
	const (
		managerPath = "/metadata/endpoints"
		tokenPath   = "/" + tenant + "/oauth2/v2.0/token"
		inCorp      = "contoso.azurecr.cloud.corp"
		inPublic    = "contoso.azurecr.io"
	)
	endpoints := func(login, suffix string) azuretest.Fault {
		return azuretest.Reply(200, `[{"name":"AzureCorp","authentication":{"loginEndpoint":"`+login+`"},"suffixes":{"acrLoginServer":"`+suffix+`"}}]`)
	}
	tests := map[string]struct {
		who, path string
		fault     azuretest.Fault
		want      string
	}{
		"binding hangs":          {"binding", "", azuretest.Hang(), "identity binding: no answer from binding.oic.example at 10.0.0.1:443 within "},
		"binding refuses":        {"binding", "", azuretest.Refuse(403), "status 403 (refused by the test); check that the cluster has an identity binding"},
		"binding is down":        {"binding", "", azuretest.Refuse(503), "status 503 at the last of 3 tries"},
		"binding throttles":      {"binding", "", azuretest.Throttle(3600), `status 429, with Retry-After "3600"; try again later`},
		"binding repeats":        {"binding", "", azuretest.Echo(400), "status 400 (cannot take map["},
		"binding redirects":      {"binding", "", azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"binding is a page":      {"binding", "", azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"binding has no end":     {"binding", "", azuretest.Endless(200), "an answer of more than 1 MiB; "},
		"binding's error too":    {"binding", "", azuretest.Endless(400), "status 400; "},
		"binding is empty":       {"binding", "", azuretest.Reply(200, `{}`), "a token that is empty or holds spaces"},
		"binding has newlines":   {"binding", "", azuretest.Reply(200, `{"access_token":"CANARY-\nx"}`), "a token that is empty or holds spaces"},
		"manager hangs":          {"manager", managerPath, azuretest.Hang(), "resource manager: no answer from management.cloud.corp within "},
		"manager refuses":        {"manager", managerPath, azuretest.Refuse(404), "status 404 (refused by the test); check resourceManagerEndpoint"},
		"manager is down":        {"manager", managerPath, azuretest.Refuse(500), "status 500 at the last of 3 tries"},
		"manager redirects":      {"manager", managerPath, azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"manager is a page":      {"manager", managerPath, azuretest.HTML(), "an answer that is not the JSON of a cloud's endpoints; "},
		"manager has no end":     {"manager", managerPath, azuretest.Endless(200), "an answer of more than 1 MiB; "},
		"manager knows no cloud": {"manager", managerPath, azuretest.Reply(200, `[]`), `0 clouds, none of which is named "AzureCorp"; set cloud`},
		"manager knows others":   {"manager", managerPath, azuretest.Reply(200, `[{"name":"a"},{"name":"b"}]`), `2 clouds, none of which is named "AzureCorp"; set cloud`},
		"manager says nothing":   {"manager", managerPath, azuretest.Reply(200, `{}`), "its sign-in endpoint is not a URL"},
		"manager in HTTP":        {"manager", managerPath, endpoints("http://login.cloud.corp/", "azurecr.cloud.corp"), "its sign-in endpoint is not a URL"},
		"manager with a user":    {"manager", managerPath, endpoints("https://u:CANARY-p@login.cloud.corp/", "azurecr.cloud.corp"), "its sign-in endpoint is not a URL"},
		"manager, no suffix":     {"manager", managerPath, endpoints("https://login.cloud.corp/", ""), "it names no suffix of registries; "},
		"manager, dot":           {"manager", managerPath, endpoints("https://login.cloud.corp/", "."), "it names no suffix of registries; "},
		"manager, one label":     {"manager", managerPath, endpoints("https://login.cloud.corp/", "corp"), `the suffix of registries "corp" is not a domain`},
		"manager, a port":        {"manager", managerPath, endpoints("https://login.cloud.corp/", "azurecr.corp:444"), "is not a domain such as"},
		"manager, a path":        {"manager", managerPath, endpoints("https://login.cloud.corp/", "azurecr.corp/x"), "is not a domain such as"},
		"manager, other suffix":  {"manager", managerPath, endpoints("https://login.cloud.corp/", "azurecr.io"), "is not a login server of Azure Container Registry (NAME.azurecr.io); "},
		"manager, AD FS":         {"manager", managerPath, endpoints("https://adfs.cloud.corp/adfs", "azurecr.cloud.corp"), "the cloud signs in by AD FS, which is not supported; "},
		"file's sign-in hangs":   {"file", "", azuretest.Hang(), "service principal: no answer from login.microsoftonline.com within "},
		"file's token repeated":  {"file", tokenPath, azuretest.Echo(400), "status 400 (cannot take map["},
		"file's token expired":   {"file", tokenPath, azuretest.Reply(401, `{"error":"invalid_client","error_description":"AADSTS700024: Client assertion is not within its valid time range."}`), "the token is not valid at this time; check the node's clock"},
		"file's token unknown":   {"file", tokenPath, azuretest.Reply(401, `{"error":"invalid_client","error_description":"AADSTS70021: No matching federated identity record found."}`), "give the application a federated credential"},
		"certificate unknown":    {"certificate", tokenPath, azuretest.Reply(401, `{"error":"invalid_client","error_description":"AADSTS700027: The certificate is not registered."}`), "register the certificate of aadClientCertPath"},
		"certificate repeated":   {"certificate", tokenPath, azuretest.Echo(400), "status 400 (cannot take […] "},
		"certificate redirects":  {"certificate", tokenPath, azuretest.Redirect("evil.example"), "a redirect, which is not followed"},
		"pod's sign-in hangs":    {"pod", "", azuretest.Hang(), "workload identity: no answer from login.microsoftonline.com within "},
		"pod's token repeated":   {"pod", "/" + podTenant + "/oauth2/v2.0/token", azuretest.Echo(400), "check kubernetes.azure.com/acr-tenant-id, kubernetes.azure.com/acr-client-id and cloud"},
		"pod's token is a page":  {"pod", "", azuretest.HTML(), "an answer that is not the JSON of a token; "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry, config := inPublic, configs["system"]
			if test.who == "manager" {
				registry, config = inCorp, modes["manager"]
			}
			w := startWorld(t, registry)
			evil, err := w.AddSource("evil.example", azuretest.SourceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			o := w.options()
			o.IdentityLimit, o.RequestLimit = 10*time.Second, 10*time.Second
			if strings.Contains(test.want, "no answer") {
				o.IdentityLimit, o.RequestLimit = 100*time.Millisecond, 100*time.Millisecond
				if test.who != "manager" {
					o.RequestLimit = 10 * time.Second
				}
			}
			who, token := w.Entra, ""
			switch test.who {
			case "binding":
				bind(t)(&o)
				who, token = w.binding.Component, podToken
			case "manager":
				who = w.manager
			case "pod":
				token = podToken
			case "file":
				config = modes["file"]
			case "certificate":
				config = modes["PEM"]
			}
			who.Fail(test.path, test.fault)
			started := time.Now()
			got, err := newSource(t, config, o).Credential(t.Context(), asking(t, registry, token, annotated))
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
			if len(evil.Requests()) > 0 {
				t.Errorf("evil.example was asked %q", lines(evil.Requests()...))
			}
		})
	}
}

// TestModeErrors checks the errors that come before any request.
func TestModeErrors(t *testing.T) {
	cert := func(name, password string) string {
		return strings.NewReplacer("client.pfx", name, pfxPassword, password).Replace(modes["PKCS#12"])
	}
	tenantOnly := map[string]string{"kubernetes.azure.com/acr-tenant-id": podTenant}
	clientOnly := map[string]string{"kubernetes.azure.com/acr-client-id": podID}
	require := func(o *azure.Options) { o.RequireServiceAccount = true }
	tests := map[string]struct {
		config      string
		options     func(*azure.Options)
		token       string
		annotations map[string]string
		want        string
	}{
		"no certificate":         {cert("nonesuch", ""), nil, "", nil, "aadClientCertPath: open testdata/nonesuch: no such file or directory; set it"},
		"not a certificate":      {cert("../modes_fault_test.go", ""), nil, "", nil, "aadClientCertPath: testdata/../modes_fault_test.go: it is neither PEM nor PKCS#12 ("},
		"wrong password":         {cert("client.pfx", azuretest.Canary+"wrong"), nil, "", nil, "client.pfx: the password is not the file's; set aadClientCertPassword"},
		"missing password":       {cert("client.pfx", ""), nil, "", nil, "client.pfx: the password is not the file's; set aadClientCertPassword"},
		"PKCS#12 of today":       {cert("modern.pfx", pfxPassword), nil, "", nil, `write the file as PEM, or with "openssl pkcs12 -export -legacy"`},
		"encrypted PEM":          {cert("encrypted.pem", pfxPassword), nil, "", nil, "the key in it is encrypted; write it without a passphrase"},
		"elliptic curve":         {cert("ec.pem", ""), nil, "", nil, "key must be an RSA key; write the certificate and its RSA key into it"},
		"key of another":         {cert("mismatch.pem", ""), nil, "", nil, "key doesn't match any certificate; write"},
		"no token file":          {strings.Replace(modes["file"], "/token", "/nonesuch", 1), nil, "", nil, "aadFederatedTokenFile: open /nonesuch: no such file or directory; set it"},
		"two lines of tokens":    {strings.Replace(modes["file"], "/token", "/two", 1), nil, "", nil, "aadFederatedTokenFile: /two does not hold one token; "},
		"no client annotation":   {configs["system"], nil, podToken, tenantOnly, "no client id annotation; annotate the pod's service account with kubernetes.azure.com/acr-client-id"},
		"no tenant annotation":   {configs["system"], nil, podToken, clientOnly, "no tenant id annotation; annotate the pod's service account with kubernetes.azure.com/acr-tenant-id"},
		"no annotation":          {configs["system"], nil, podToken, nil, "no client id annotation"},
		"binding, no annotation": {configs["system"], bind(t), podToken, tenantOnly, "no client id annotation"},
		"binding, no tenant":     {modes["no tenant"], bind(t), podToken, clientOnly, "no tenant id annotation"},
		"binding, no CA":         {configs["system"], bindTo(t, "/nonesuch"), podToken, annotated, "identity binding: open /nonesuch: no such file or directory; name the file with the CA"},
		"binding, other file":    {configs["system"], bindTo(t, "/two"), podToken, annotated, "identity binding: /two holds no certificate as PEM; "},
		"required":               {configs["system"], require, "", annotated, "the request carries no service-account token; set tokenAttributes"},
		"required of a binding":  {configs["system"], func(o *azure.Options) { require(o); bind(t)(o) }, "", annotated, "the request carries no service-account token"},
		"token in two lines":     {configs["system"], nil, podToken + "\nx", annotated, "the request's service-account token holds spaces"},
		"nothing on the node":    {modes["no node id"], bothIDs, "", nil, "no identity is named; "},
		"no environment":         {modes["stack"], nil, "", nil, `cloud "AzureStackCloud": nothing says where its registries are; set resourceManagerEndpoint, or AZURE_ENVIRONMENT_FILEPATH`},
		"no environment file":    {modes["stack"], environment("/nonesuch"), "", nil, "AZURE_ENVIRONMENT_FILEPATH: open /nonesuch: no such file or directory; set it"},
		"environment not JSON":   {modes["stack"], environment("/two"), "", nil, "AZURE_ENVIRONMENT_FILEPATH: /two is not JSON with the endpoints of a cloud; "},
		"environment is empty":   {modes["stack"], environment("/empty"), "", nil, "AZURE_ENVIRONMENT_FILEPATH: /empty: its sign-in endpoint is not a URL"},
		"environment, half":      {modes["stack"], environment("/half"), "", nil, "AZURE_ENVIRONMENT_FILEPATH: /half: it names no suffix of registries; correct"},
		"manager with a query":   {strings.Replace(modes["manager"], "corp/", "corp/?x", 1), nil, "", nil, "resourceManagerEndpoint: this is not the URL of a resource manager; "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := startWorld(t, "contoso.azurecr.io")
			w.files["/two"] = azuretest.Canary + "a\n" + azuretest.Canary + "b\n"
			w.files["/empty"], w.files["/half"] = "{}", `{"activeDirectoryEndpoint":"https://login.cloud.corp"}`
			o := w.options()
			if test.options != nil {
				test.options(&o)
			}
			got, err := newSource(t, test.config, o).Credential(t.Context(), asking(t, "contoso.azurecr.io", test.token, test.annotations))
			if err == nil || !strings.Contains(err.Error(), test.want) || !got.Anonymous() {
				t.Errorf("Credential() = %v, %v; want %s", got, err, test.want)
			}
			t.Log(err)
			checkError(t, err)
			if asked := w.asked(); len(asked) > 0 {
				t.Errorf("asked %q; want no request", flat(asked))
			}
		})
	}
}

func bindTo(t *testing.T, ca string) func(*azure.Options) {
	t.Helper()
	binding, err := azure.ParseBinding(bindingName, apiServer, ca)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *azure.Options) { o.Binding = binding }
}

func environment(path string) func(*azure.Options) {
	return func(o *azure.Options) { o.EnvironmentFile = path }
}

// TestBindingTrust checks that the endpoint is believed by the cluster's CA
// alone, and that its CA is believed for nothing else.
func TestBindingTrust(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.io")
	roots, err := os.ReadFile(w.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	w.files["/roots.crt"] = string(roots)
	o := w.options()
	bindTo(t, "/roots.crt")(&o)
	_, err = newSource(t, configs["system"], o).Credential(t.Context(), asking(t, "contoso.azurecr.io", podToken, annotated))
	if err == nil || !strings.Contains(err.Error(), "its certificate is not trusted: ") || !strings.Contains(err.Error(), "the file with the CA of the API server") {
		t.Errorf("Credential() with another cluster's CA = %v", err)
	}
	checkError(t, err)
	if n := len(w.binding.Requests()); n > 0 {
		t.Errorf("the binding was asked %d times by one that cannot trust it", n)
	}
}

// TestReadFile checks that the machine's own files are read if nothing else
// is said, and not without end.
func TestReadFile(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.io")
	o := w.options()
	o.ReadFile = nil
	for path, want := range map[string]string{"/dev/zero": "/dev/zero: this is a device, not a file", "/proc/self/maps": "/proc/self/maps does not hold one token"} {
		_, err := newSource(t, strings.Replace(modes["file"], "/token", path, 1), o).Credential(t.Context(), query(t, "contoso.azurecr.io"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Credential() by %s = %v; want %s", path, err, want)
		}
		checkError(t, err)
	}
	if _, err := newSource(t, modes["PEM"], o).Credential(t.Context(), query(t, "contoso.azurecr.io")); err != nil {
		t.Error(err)
	}
}

// TestModesPrint checks that no configuration prints a secret.
func TestModesPrint(t *testing.T) {
	w := startWorld(t, "contoso.azurecr.io")
	for name, config := range modes {
		source := newSource(t, config, w.options())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if text := fmt.Sprintf(verb, source); strings.Contains(text, azuretest.Canary) || strings.Contains(text, fmt.Sprintf("%x", azuretest.Canary)) {
				t.Errorf("%s: Sprintf(%s) = %s", name, verb, text)
			}
		}
	}
}
