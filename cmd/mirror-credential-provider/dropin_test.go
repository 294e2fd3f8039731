//go:build linux

package main_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

const (
	tenant   = azuretest.DefaultTenant
	clientID = azuretest.DefaultClientID
	secret   = azuretest.DefaultClientSecret
)

// configs are the azure.json files of the tests, by their names.
var configs = map[string]string{
	"managed":   `{"cloud":"AzurePublicCloud","tenantId":"` + tenant + `","useManagedIdentityExtension":true,"aadClientId":"msi","aadClientSecret":"msi"}`,
	"assigned":  `{"tenantId":"` + tenant + `","useManagedIdentityExtension":true,"userAssignedIdentityID":"99999999-8888-7777-6666-555555555555"}`,
	"principal": `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientSecret":"` + secret + `"}`,
	"case":      `{"TENANTID":"` + tenant + `","UseManagedIdentityExtension":true,"unknown":{"a":[1]}}`,
	"yaml":      "# a comment\ntenantId: " + tenant + "\nuseManagedIdentityExtension: true\nunknown: [1]\n",
	"china":     `{"cloud":"AzureChinaCloud","tenantId":"` + tenant + `","useManagedIdentityExtension":true}`,
	"torn":      `{"tenantId":"` + tenant + `","aadClientSecret":"` + secret,
	"empty":     "",
	"identless": `{"tenantId":"` + tenant + `"}`,
}

const (
	head      = `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":`
	nothing   = head + `"Registry","cacheDuration":"0s"}` + "\n"
	hour      = head + `"Registry","cacheDuration":"1h0m0s","auth":{"*.azurecr.*":{"username":"","password":""},`
	hourImage = head + `"Image","cacheDuration":"1h0m0s","auth":{"*.azurecr.*":{"username":"","password":""},`
	token     = `{"username":"00000000-0000-0000-0000-000000000000","password":"<refresh>"}`
	pair      = `{"username":"` + clientID + `","password":"` + secret + `"}`
	wildcards = `"*.azurecr.cn":` + pair + `,"*.azurecr.de":` + pair + `,"*.azurecr.io":` + pair + `,"*.azurecr.us":` + pair
	direct    = hour + `"foo.azurecr.io":` + token + "}}\n"
	mirrored  = hour + `"foo.azurecr.io":` + token + `,"mcr.microsoft.com":` + token + "}}\n"
	both      = "mcr.microsoft.com:foo.azurecr.io"
)

// TestDropIn holds the program against what acr-credential-provider of
// kubernetes-sigs/cloud-provider-azure does, byte for byte, under both names.
// "@name" in the arguments is the azure.json of that name.
func TestDropIn(t *testing.T) {
	tests := map[string]struct {
		args  string
		image string
		want  string // standard output, or a part of the error
	}{
		"azure.json first":   {"@managed -r " + both, "mcr.microsoft.com/x", mirrored},
		"azure.json last":    {"-r " + both + " @managed", "mcr.microsoft.com/x", mirrored},
		"azure.json between": {"-v 2 @managed -r " + both, "mcr.microsoft.com/x", mirrored},
		"behind two hyphens": {"-r " + both + " -- @managed", "mcr.microsoft.com/x", mirrored},
		"-rVALUE":            {"@managed -r" + both, "mcr.microsoft.com/x", mirrored},
		"-r=VALUE":           {"@managed -r=" + both, "mcr.microsoft.com/x", mirrored},
		"--registry-mirror=": {"@managed --registry-mirror=" + both, "mcr.microsoft.com/x", mirrored},
		"--registry-mirror":  {"--registry-mirror " + both + " @managed", "mcr.microsoft.com/x", mirrored},
		"the last one wins":  {"-r quay.io:foo.azurecr.io -r " + both + " @managed", "mcr.microsoft.com/x", mirrored},
		"the first one lost": {"-r " + both + " -r quay.io:foo.azurecr.io @managed", "mcr.microsoft.com/x", nothing},
		"flags of klog":      {"@managed -v=5 --v=5 -v5 --vmodule=a=1,b*=2 --log-flush-frequency=1s", "foo.azurecr.io/x", direct},
		"no argument":        {"", "foo.azurecr.io/x", "no azure.json is named"},
		"two arguments":      {"@managed @managed", "foo.azurecr.io/x", "2 arguments"},
		"unknown flag":       {"@managed --nonesuch", "foo.azurecr.io/x", "unknown flag: --nonesuch"},
		"flag of a value":    {"@managed -r", "foo.azurecr.io/x", "flag needs an argument"},
		"a duration":         {"@managed --log-flush-frequency=soon", "foo.azurecr.io/x", "invalid argument"},
		"sni with a scheme":  {"@managed --ib-sni-name https://x --ib-apiserver-ip 10.0.0.1", "docker.io/x/y", "leave out the scheme"},
		"sni alone":          {"@managed --ib-sni-name x", "docker.io/x/y", "needs --ib-apiserver-ip"},
		"client id alone":    {"@managed --ib-default-client-id x", "docker.io/x/y", "needs --ib-sni-name"},
		"tenant id alone":    {"@managed --ib-default-tenant-id x", "docker.io/x/y", "needs --ib-sni-name"},
		"API server alone":   {"@managed --ib-apiserver-ip 10.0.0.1", "docker.io/x/y", "needs --ib-sni-name"},
		"not ACR with sni":   {"@managed --ib-sni-name x --ib-apiserver-ip 10.0.0.1", "docker.io/x/y", nothing},
		"ACR with sni":       {"@managed --ib-sni-name x --ib-apiserver-ip 10.0.0.1", "foo.azurecr.io/x", direct},
		"mirrored with sni":  {"@managed --ib-sni-name x --ib-apiserver-ip 10.0.0.1 -r " + both, "mcr.microsoft.com/x", mirrored},

		"not ACR":             {"@managed", "docker.io/library/nginx", nothing},
		"not ACR, principal":  {"@principal", "docker.io/library/nginx", nothing},
		"not ACR, none":       {"@identless", "docker.io/library/nginx", nothing},
		"ACR":                 {"@managed", "foo.azurecr.io/x/y", direct},
		"ACR, assigned":       {"@assigned", "foo.azurecr.io/x/y", direct},
		"ACR, other case":     {"@case", "foo.azurecr.io/x/y", direct},
		"ACR, YAML":           {"@yaml", "foo.azurecr.io/x/y", direct},
		"ACR, name label":     {"@managed", "contoso-abc.azurecr.io/x", hour + `"contoso-abc.azurecr.io":` + token + "}}\n"},
		"ACR, region":         {"@managed", "foo.eastus2.geo.azurecr.io/x", hour + `"foo.eastus2.geo.azurecr.io":` + token + "}}\n"},
		"ACR, China":          {"@china", "foo.azurecr.cn/x", hour + `"foo.azurecr.cn":` + token + "}}\n"},
		"principal":           {"@principal", "foo.azurecr.io/x", hour + wildcards + "}}\n"},
		"principal, region":   {"@principal", "foo.eastus2.geo.azurecr.io/x", hour + wildcards + `,"foo.eastus2.geo.azurecr.io":` + pair + "}}\n"},
		"principal, mirrored": {"@principal -r " + both, "mcr.microsoft.com/x", mirrored},
		"principal, direct":   {"@principal -r " + both, "foo.azurecr.io/x", hour + wildcards + "}}\n"},
		"missing azure.json":  {"/nonesuch/azure.json", "docker.io/library/nginx", "/nonesuch/azure.json"},
		"torn azure.json":     {"@torn", "docker.io/library/nginx", "torn: line 1: this is not JSON"},
		"empty azure.json":    {"@empty", "docker.io/library/nginx", "empty: the file is empty"},
		"no identity":         {"@identless", "foo.azurecr.io/x", "no identity is named"},
		"a directory":         {"/", "docker.io/library/nginx", "/: this is a directory, not a file"},

		"spaces":          {"@managed -r " + strings.ReplaceAll(" mcr.microsoft.com: foo.azurecr.io, a:b ", " ", "·"), "mcr.microsoft.com/x", mirrored},
		"empty value":     {"@managed --registry-mirror=", "mcr.microsoft.com/x", nothing},
		"malformed entry": {"@managed -r aaa," + both + ",a=b,", "mcr.microsoft.com/x", mirrored},
		"path":            {"@managed -r docker.io/library:foo.azurecr.io/hub", "docker.io/library/nginx", hourImage + `"docker.io/library":` + token + `,"foo.azurecr.io":` + token + "}}\n"},
		"target not ACR":  {"@managed -r mcr.microsoft.com:harbor.corp", "mcr.microsoft.com/x", nothing},
		"no wildcard":     {"@managed -r *.gcr.io:foo.azurecr.io", "eu.gcr.io/x", nothing},

		// What follows differs on purpose: acr-credential-provider takes a
		// registry for another one, answers at random, or panics.
		"other host with ours in front": {"@managed -r docker.io:foo.azurecr.io", "docker.iox/x", nothing},
		"the longest source wins":       {"@managed -r docker.io:bar.azurecr.io,docker.io/library:foo.azurecr.io,docker.io/lib:bar.azurecr.io", "docker.io/library/x", hourImage + `"docker.io/library":` + token + `,"foo.azurecr.io":` + token + "}}\n"},
		"beside a longer source":        {"@managed -r docker.io:foo.azurecr.io,docker.io/library:bar.azurecr.io", "docker.io/x/y", hourImage + `"docker.io":` + token + `,"foo.azurecr.io":` + token + "}}\n"},
		"source with a port":            {"@managed -r harbor:8443:foo.azurecr.io", "harbor:8443/x", hour + `"foo.azurecr.io":` + token + `,"harbor:8443":` + token + "}}\n"},
		"target with a scheme":          {"@managed -r mcr.microsoft.com:https://foo.azurecr.io", "mcr.microsoft.com/x", mirrored},
		"empty source":                  {"@managed -r :foo.azurecr.io", "mcr.microsoft.com/x", nothing},
		"empty target":                  {"@managed -r mcr.microsoft.com:", "mcr.microsoft.com/x", nothing},
		"evilazurecr.io":                {"@managed", "evilazurecr.io/x", nothing},
		"suffix in front":               {"@managed", "foo.azurecr.io.example/bar", nothing},
		"suffix in the path":            {"@managed", "docker.io/foo.azurecr.io/bar", nothing},
		"data endpoint":                 {"@managed", "foo.eastus2.data.azurecr.io/x", nothing},
		"private link":                  {"@managed", "foo.privatelink.azurecr.io/x", nothing},
		"upper case":                    {"@managed", "FOO.AZURECR.IO/x", nothing},
		"ACR with a port":               {"@managed", "foo.azurecr.io:443/x", hour + `"foo.azurecr.io:443":` + token + "}}\n"},
		"ACR with another port":         {"@managed", "foo.azurecr.io:8443/x", nothing},
		"ACR of another cloud":          {"@managed", "foo.azurecr.cn/x", `"foo.azurecr.cn" is not a login server of Azure Container Registry (NAME.azurecr.io)`},
	}
	cloud, _ := startCloud(t, "foo.azurecr.io", "foo.azurecr.cn", "contoso-abc.azurecr.io", "foo.eastus2.geo.azurecr.io")
	dir := t.TempDir()
	for name, text := range configs {
		writeFile(t, dir, name, text)
	}
	for test, c := range tests {
		args := strings.Fields(c.args)
		for i, arg := range args {
			args[i] = strings.ReplaceAll(arg, "·", " ")
			if name, ok := strings.CutPrefix(arg, "@"); ok {
				args[i] = filepath.Join(dir, name)
			}
		}
		for _, name := range names {
			t.Run(test+"/"+name, func(t *testing.T) {
				t.Parallel()
				got := run(t, cloud, name, request(c.image), args...)
				if strings.HasPrefix(c.want, "{") {
					if got.answer() != c.want || got.code != 0 {
						t.Errorf("%s %s for %s exits %d with %s%s; want %s", name, c.args, c.image, got.code, got.answer(), got.stderr, c.want)
					}
				} else if got.code != 1 || !strings.Contains(got.stderr, c.want) {
					t.Errorf("%s %s for %s exits %d with %s%s; want an error with %s", name, c.args, c.image, got.code, got.answer(), got.stderr, c.want)
				}
			})
		}
	}
	t.Cleanup(func() {
		if refused := cloud.Refused(); len(refused) > 0 {
			t.Errorf("other hosts were asked: %q", refused)
		}
	})
}

// TestRelative checks that azure.json may be named from where one stands.
func TestRelative(t *testing.T) {
	cloud, _ := startCloud(t)
	cmd := command(t, cloud, names[1], "azure.json")
	cmd.Dir = t.TempDir()
	writeFile(t, cmd.Dir, "azure.json", configs["managed"])
	if got := finish(t, cmd, request("docker.io/library/nginx")); got.code != 0 || got.stdout != nothing {
		t.Errorf("it exits %d with %s%s", got.code, got.stdout, got.stderr)
	}
}

// TestNothingAsked checks that an answer that needs no request sends none.
func TestNothingAsked(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io")
	dir := t.TempDir()
	for _, c := range [][2]string{{"managed", "docker.io/library/nginx"}, {"principal", "foo.azurecr.io/x"}, {"principal", "quay.io/x"}, {"managed", "evilazurecr.io/x"}} {
		run(t, cloud, names[0], request(c[1]), writeFile(t, dir, c[0], configs[c[0]]))
	}
	if n := len(cloud.Identity.Requests()) + len(cloud.Proxy.Requests()) + len(acrs["foo.azurecr.io"].Requests()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

// TestRequests checks what is taken for a request.
func TestRequests(t *testing.T) {
	good := request("docker.io/library/nginx")
	cloud, _ := startCloud(t, "foo.azurecr.io")
	config := writeFile(t, t.TempDir(), "managed", configs["managed"])
	for stdin, want := range map[string]string{
		good:                 nothing,
		"\n" + good + "\n\n": nothing,
		strings.Replace(good, "{", `{"new":{"x":[1]},`, 1): nothing,
		"":                                  "is empty",
		"kind: CredentialProviderRequest\n": "not a JSON",
		good[:len(good)-1]:                  "not a JSON",
		good + good:                         "not a JSON",
		strings.Replace(good, "/v1", "/v1beta1", 1):   "apiVersion",
		strings.Replace(good, "Request", "Result", 1): "kind",
		request("docker.io/UPPER"):                    "upper case",
		request("a b\nc"):                             "image",
		request(""):                                   "names no image",
		strings.Repeat(" ", 1<<20) + good:             "longer than 1048576 bytes",
		strings.Replace(request("foo.azurecr.io/x"), "{", `{"serviceAccountToken":"`+azuretest.Canary+`sa",`, 1): "no client id annotation; annotate the pod's service account with kubernetes.azure.com/acr-client-id",
	} {
		got := run(t, cloud, names[0], stdin, config)
		if !strings.Contains(got.stdout+got.stderr, want) || (got.code == 0) != (want == nothing) {
			t.Errorf("for %.200q it exits %d with %s%s; want %s", stdin, got.code, got.stdout, got.stderr, want)
		}
	}
}

// TestChallenges checks that no answer of a registry brings the program down or
// the node's token elsewhere.
func TestChallenges(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io")
	evil, err := cloud.AddSource("evil.example", azuretest.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := writeFile(t, t.TempDir(), "managed", configs["managed"])
	for header, want := range map[string]string{
		"Basic": "not one Bearer challenge",
		`Bearer realm="https://evil.example/oauth2/token",service="HOST"`: "not on the registry's own host",
		`Bearer realm="https://HOST/oauth2/token",service=HOST`:           "",
		`Bearer realm="https://HOST/oauth2/token`:                         "not one Bearer challenge",
	} {
		acrs["foo.azurecr.io"].Fail("/v2/", azuretest.Challenge(header))
		got := run(t, cloud, names[0], request("foo.azurecr.io/x"), config)
		if (got.code == 0) != (want == "") || !strings.Contains(got.stderr, want) {
			t.Errorf("challenged by %s it exits %d with %s%s; want %s", header, got.code, got.answer(), got.stderr, want)
		}
	}
	if n := len(evil.Requests()); n > 0 {
		t.Errorf("evil.example was asked %d times", n)
	}
}

// TestHelp checks that help and version are what is asked for, so that they go
// to standard output.
func TestHelp(t *testing.T) {
	cloud, _ := startCloud(t)
	for flag, want := range map[string]string{"--help": "Usage: ", "-h": "Usage: ", "--version": "mirror-credential-provider version "} {
		if got := run(t, cloud, names[0], "", flag); got.code != 0 || !strings.HasPrefix(got.stdout, want) || got.stderr != "" {
			t.Errorf("%s exits %d with %s%s; want %s", flag, got.code, got.stdout, got.stderr, want)
		}
	}
}
