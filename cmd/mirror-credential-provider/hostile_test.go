//go:build linux

package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	evilHost  = "evil.example"
	exchange  = "/oauth2/exchange"
	signIn    = "/" + tenant + "/oauth2/v2.0/token"
	podSignIn = "/" + podTenant + "/oauth2/v2.0/token"
)

// ways are the ways to call the program for one image: by the flags of
// acr-credential-provider and by routes.
var ways = map[string][]string{
	"flags":  {mirror.DefaultAzureConfig, "-r", both},
	"routes": {fromRoute},
}

// TestHostile has each of those that the program asks answer with malice, and
// holds that no token goes anywhere but to the registry's token exchange, that
// the reason is said, and that no secret is in it or in the log.
func TestHostile(t *testing.T) {
	const elsewhere = "is not on the registry's own host, so it is not given the token; "
	realm := func(realm string) azuretest.Fault {
		return azuretest.Challenge(`Bearer realm="` + realm + `",service="HOST"`)
	}
	access := func(token string) azuretest.Fault {
		return azuretest.Reply(200, `{"access_token":"`+token+`","expires_in":3599,"expires_on":"4102444800","token_type":"Bearer"}`, "Content-Type", "application/json")
	}
	discovery := func(endpoint string) azuretest.Fault {
		return azuretest.Reply(200, `{"token_endpoint":"`+endpoint+`","authorization_endpoint":"https://login.microsoftonline.com/x","issuer":"https://login.microsoftonline.com/`+tenant+`/v2.0"}`)
	}
	const configuration = "/" + tenant + "/v2.0/.well-known/openid-configuration"
	tests := map[string]struct {
		who, path string
		fault     azuretest.Fault
		want      string // of the reason; "" if the answer is good anyway
	}{
		"registry, realm on another host":        {"registry", "/v2/", realm("https://" + evilHost + "/oauth2/token"), elsewhere},
		"registry, realm below another host":     {"registry", "/v2/", realm("https://HOST." + evilHost + "/oauth2/token"), elsewhere},
		"registry, realm at another registry":    {"registry", "/v2/", realm("https://bar.azurecr.io/oauth2/token"), elsewhere},
		"registry, realm in http":                {"registry", "/v2/", realm("http://HOST/oauth2/token"), elsewhere},
		"registry, realm on another port":        {"registry", "/v2/", realm("https://HOST:444/oauth2/token"), elsewhere},
		"registry, realm with its name as user":  {"registry", "/v2/", realm("https://HOST@" + evilHost + "/oauth2/token"), elsewhere},
		"registry, realm with user and password": {"registry", "/v2/", realm("https://u:" + azuretest.Canary + "p@HOST/oauth2/token"), elsewhere},
		"registry, realm without host":           {"registry", "/v2/", realm("/oauth2/token"), elsewhere},
		"registry, service of another":           {"registry", "/v2/", azuretest.Challenge(`Bearer realm="https://HOST/oauth2/token",service="bar.azurecr.io"`), `the service "bar.azurecr.io" is not the registry; `},
		"registry, redirect of /v2/":             {"registry", "/v2/", azuretest.Redirect(evilHost), "registry challenge: foo.azurecr.io after "},
		"registry, redirect of the exchange":     {"registry", exchange, azuretest.Redirect(evilHost), "status 307, a redirect, which is not followed; "},
		"registry, redirect to another registry": {"registry", exchange, azuretest.Redirect("bar.azurecr.io"), "status 307, a redirect, which is not followed; "},
		"registry, redirect of its tokens":       {"registry", "/oauth2/token", azuretest.Redirect(evilHost), ""}, // for containerd to refuse
		"registry, a gigabyte at /v2/":           {"registry", "/v2/", azuretest.Endless(401), "0 Www-Authenticate headers instead of one; "},
		"registry, a gigabyte of header":         {"registry", "/v2/", azuretest.Endless(0), "the answer has no end; "},
		"registry, a gigabyte for a token":       {"registry", exchange, azuretest.Endless(200), "an answer of more than 1 MiB; "},
		"registry, slow at /v2/":                 {"registry", "/v2/", azuretest.Drip(401), "registry challenge: no answer from foo.azurecr.io within "},
		"registry, slow header":                  {"registry", "/v2/", azuretest.Drip(0), "registry challenge: no answer from foo.azurecr.io within "},
		"registry, slow token":                   {"registry", exchange, azuretest.Drip(200), "registry token exchange: no answer from foo.azurecr.io within "},
		"registry, HTML at /v2/":                 {"registry", "/v2/", azuretest.HTML(), "status 200 (a page of HTML); check that the name leads to the registry"},
		"registry, HTML for a token":             {"registry", exchange, azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"registry, empty token":                  {"registry", exchange, azuretest.Token(""), "refresh_token is empty or holds spaces or control characters; "},
		"registry, token with a newline":         {"registry", exchange, azuretest.Token(azuretest.Canary + "x\nAuthorization: y"), "refresh_token is empty or holds"},
		"registry, token in its refusal":         {"registry", exchange, azuretest.Echo(403), "registry token exchange: foo.azurecr.io after "},

		"metadata, a gigabyte":              {"metadata", "", azuretest.Endless(200), "the answer has no end; "},
		"metadata, a gigabyte of an error":  {"metadata", "", azuretest.Endless(400), "the answer has no end; "},
		"metadata, a gigabyte of header":    {"metadata", "", azuretest.Endless(0), "the answer has no end; "},
		"metadata, slow":                    {"metadata", "", azuretest.Drip(200), "managed identity: no answer from 127.0.0.1 within "},
		"metadata, slow header":             {"metadata", "", azuretest.Drip(0), "managed identity: no answer from 127.0.0.1 within "},
		"metadata, HTML":                    {"metadata", "", azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"metadata, empty token":             {"metadata", "", access(""), "managed identity: "},
		"metadata, token with a newline":    {"metadata", "", access(azuretest.Canary + `x\ny`), "a token that is empty or holds spaces or control characters; "},
		"metadata, redirect":                {"metadata", "", azuretest.Redirect(evilHost), "a redirect, which is not followed"},
		"metadata, its header in a refusal": {"metadata", "", azuretest.Reply(400, `{"error":"`+azuretest.Canary+strings.Repeat("x", 80)+`"}`), "status 400 ([…]); "},

		"Entra ID, a gigabyte":           {"Entra ID", signIn, azuretest.Endless(200), "the answer has no end; "},
		"Entra ID, slow":                 {"Entra ID", signIn, azuretest.Drip(200), "service principal: no answer from login.microsoftonline.com within "},
		"Entra ID, HTML":                 {"Entra ID", "", azuretest.HTML(), "an answer that is not the JSON of a token; "},
		"Entra ID, empty token":          {"Entra ID", signIn, access(""), "service principal: login.microsoftonline.com after "},
		"Entra ID, token with a newline": {"Entra ID", signIn, access(azuretest.Canary + `x\ny`), "a token that is empty or holds spaces or control characters; "},
		"Entra ID, redirect":             {"Entra ID", signIn, azuretest.Redirect(evilHost), "a redirect, which is not followed"},
		"Entra ID, redirect at first":    {"Entra ID", "", azuretest.Redirect(evilHost), "a redirect, which is not followed"},
		"Entra ID, token endpoint":       {"Entra ID", configuration, discovery("https://" + evilHost + "/token"), `it redirects to "https://evil.example", which gets nothing; `},
		"Entra ID, of another cloud":     {"Entra ID", configuration, discovery("https://login.microsoftonline.us" + signIn), ""},
		"Entra ID, endpoint in http":     {"Entra ID", configuration, discovery("http://login.microsoftonline.com" + signIn), `it redirects to "http://login.microsoftonline.com", which gets nothing; `},
		"Entra ID, secret in a refusal":  {"Entra ID", signIn, azuretest.Echo(401), "service principal: login.microsoftonline.com after "},

		"Entra ID, redirect of a pod":          {"pod", podSignIn, azuretest.Redirect(evilHost), "a redirect, which is not followed"},
		"Entra ID, token endpoint of a pod":    {"pod", strings.Replace(configuration, tenant, podTenant, 1), discovery("https://" + evilHost + "/token"), `it redirects to "https://evil.example", which gets nothing; `},
		"Entra ID, a pod's token in a refusal": {"pod", podSignIn, azuretest.Echo(400), "workload identity: login.microsoftonline.com after "},
		"proxy, refusal":                       {"proxy", "", azuretest.Refuse(407), " answered 407; check the node's firewall, routes and HTTPS_PROXY"},
	}
	for name, test := range tests {
		for way, args := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				cloud, foo, _ := startPodCloud(t)
				evil := addEvil(t, cloud)
				n := plant(t, toFoo)
				stdin, slow := request(mcrImage), strings.Contains(test.want, "no answer from")
				who := map[string]*azuretest.Component{"registry": foo.Component, "metadata": cloud.Identity, "Entra ID": cloud.Entra, "pod": cloud.Entra, "proxy": cloud.Proxy}[test.who]
				switch test.who {
				case "Entra ID":
					writeFile(t, n.root, mirror.DefaultAzureConfig, configs["principal"])
				case "pod":
					stdin = ofPod("foo.azurecr.io/x", podBoth)
				}
				who.Fail(test.path, test.fault)
				args := append([]string{"--root=" + n.root}, args...)
				if slow {
					// Time enough for the steps before, on a machine that is busy.
					args = append(args, "--timeout=3s")
				}
				got := run(t, cloud, names[0], stdin, args...)
				if (got.code == 0) != (test.want == "") || !strings.Contains(got.stderr, test.want) || got.took > 20*time.Second {
					t.Errorf("it exits %d after %s with %s%s; want %s", got.code, got.took, got.answer(), got.stderr, test.want)
				}
				if n := len(evil.Requests()); n > 0 {
					t.Errorf("%s is asked %v", evilHost, evil.Requests())
				}
				checkTokens(t, cloud, foo, test.path == "/v2/")
				events := readEvents(t, n)
				if len(events) != 1 || (events[0].Outcome == audit.Failed) != (test.want != "") || !strings.Contains(events[0].Reason, test.want) {
					t.Errorf("the log has %+v", events)
				}
			})
		}
	}
}

// addEvil serves a host that must not be asked.
func addEvil(t *testing.T, cloud *azuretest.Cloud) *azuretest.Source {
	t.Helper()
	evil, err := cloud.AddSource(evilHost, azuretest.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return evil
}

// checkTokens checks that tokens went to the registry's exchange alone, and not even
// there if it is untrusted. It also checks that no host outside the stand-in was asked.
func checkTokens(t *testing.T, cloud *azuretest.Cloud, acr *azuretest.ACR, untrusted bool) {
	t.Helper()
	for _, r := range acr.Requests() {
		if at := r.Method + " " + r.URL; at != "GET https://foo.azurecr.io/v2/" && (untrusted || at != "POST https://foo.azurecr.io"+exchange) {
			t.Errorf("the registry is asked %s", at)
		}
		if r.Method == http.MethodGet && strings.Contains(fmt.Sprint(r), azuretest.Canary) {
			t.Errorf("the registry is given a secret: %v", r)
		}
	}
	if untrusted && len(cloud.Identity.Requests())+len(cloud.Entra.Requests()) > 0 {
		t.Error("a token was fetched for a registry that is not to be trusted")
	}
	for _, r := range append(cloud.Identity.Requests(), append(cloud.Entra.Requests(), cloud.Proxy.Requests()...)...) {
		if strings.Contains(fmt.Sprint(r), azuretest.Canary+"entra") || r.Method != http.MethodConnect && r.URL == "" {
			t.Errorf("a token of Entra ID is in %v", r)
		}
	}
	if refused := cloud.Refused(); len(refused) > 0 {
		t.Errorf("others are asked: %q", refused)
	}
}

// lookAlikes are names that are not a registry of Azure, and seem to be.
var lookAlikes = []string{
	"evilazurecr.io", "foo-azurecr.io", "azurecr.io", "foo.azurecr.io.evil.example", "foo.azurecr.io.azurecr.evil.example",
	"foo.azurecr.io:444", "foo.azurecr.io:0443", "foo.azurecr.io:80", "FOO.AZURECR.IO", "foo.AzureCR.io",
	"foo.azurecr.io@evil.example", "foo.azurecr.io:443@evil.example", "u:" + azuretest.Canary + "p@foo.azurecr.io", "evil.example@foo.azurecr.io",
	"foo.аzurecr.io", "fоo.azurecr.io", "foo.azurecr。io", "foo．azurecr.io", "foo.azurecr.ıo", "foo.azurecr.io\u200b", "foo\u00ad.azurecr.io",
	"foo.azurecr.io.", "foo..azurecr.io", ".azurecr.io", "-.azurecr.io", "foo.azurecr.io%2eevil.example", "foo.azurecr.io\\evil.example",
	"foo.azurecr.io#.evil.example", "foo.azurecr.io?.evil.example", "foo.azurecr.io;evil.example", "foo.azurecr.io evil.example", "foo.azurecr.io\n",
	"foo.azurecr.io\x00.evil.example", "https://foo.azurecr.io", "//foo.azurecr.io", "docker.io/foo.azurecr.io", "[foo.azurecr.io]", "*.azurecr.io",
	"foo.eastus2.data.azurecr.io", "foo.privatelink.azurecr.io", "foo.evil.azurecr.io", "foo.azurecr.io.azurecr.io", "xn--foo.evil.azurecr.io",
}

// TestLookAlikes checks that an image which is named to look as if it were at a
// registry of Azure gets no credential, and no host is asked for one.
func TestLookAlikes(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io", "foo.azurecr.io:444")
	evil := addEvil(t, cloud)
	n := plant(t, toFoo)
	writeFile(t, n.root, "/principal.json", configs["principal"])
	for _, host := range lookAlikes {
		for way, args := range map[string][]string{
			"a mirror beside it":     {mirror.DefaultAzureConfig, "-r", both},
			"a secret in azure.json": {"/principal.json"},
			"a mirror to it":         {mirror.DefaultAzureConfig, "-r", "mcr.microsoft.com:" + host},
			"a mirror of it":         {mirror.DefaultAzureConfig, "-r", host + ":foo.azurecr.io:444"},
			"routes":                 {fromRoute},
		} {
			if strings.Contains(strings.Join(args, ""), "\x00") || slices.Contains(args, "mcr.microsoft.com:https://foo.azurecr.io") {
				continue // no argument can hold the first, and the second is what it says
			}
			image := host + "/x"
			if way == "a mirror to it" {
				image = mcrImage
			}
			stdin, err := json.Marshal(map[string]string{"kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "image": image})
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, cloud, names[0], string(stdin), append(args, "--root="+n.root)...)
			if (got.stdout == "") != (got.code == 1) || got.stdout != "" && got.stdout != nothing && got.stdout != noAnswer {
				t.Errorf("%q, with %s, is answered %s%s", host, way, got.answer(), got.stderr)
			}
		}
	}
	checkUnasked(t, cloud, acrs["foo.azurecr.io"], acrs["foo.azurecr.io:444"])
	if requests := evil.Requests(); len(requests) > 0 {
		t.Errorf("%s is asked %v", evilHost, requests)
	}
	readEvents(t, n)
}

// TestTrust checks that the program trusts the CAs that the system does, those
// of the file and those of the directory, and looks at the second for what is
// not in the first alone: it would wait at the named pipe.
func TestTrust(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io")
	stranger, _ := startCloud(t)
	with, empty, pipe := t.TempDir(), t.TempDir(), t.TempDir()
	writeFile(t, with, "ca.pem", string(read(t, cloud.CAFile())))
	none := writeFile(t, empty, "empty", "")
	if err := syscall.Mkfifo(filepath.Join(pipe, "ca.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file, dir string
		want      string
	}{
		"in the file":             {cloud.CAFile(), pipe, ""},
		"in the directory":        {stranger.CAFile(), with, ""},
		"in the directory alone":  {none, with, ""},
		"in a directory, no file": {"/nonesuch", with, ""},
		"in neither":              {stranger.CAFile(), empty, "its certificate is not trusted: "},
	} {
		for azure, way := range map[string]string{"managed": "flags", "principal": "routes"} {
			n := plant(t, toFoo)
			writeFile(t, n.root, mirror.DefaultAzureConfig, configs[azure])
			cmd := command(t, cloud, names[0], append([]string{"--root=" + n.root}, ways[way]...)...)
			cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+c.file, "SSL_CERT_DIR="+c.dir)
			if got := finish(t, cmd, request(mcrImage)); (got.code == 0) != (c.want == "") || !strings.Contains(got.stderr, c.want) {
				t.Errorf("%s, %s: it exits %d with %s; want %s", name, azure, got.code, got.stderr, c.want)
			}
		}
	}
}

// TestForeignOwner has azure.json, or the certificate that it names, be another
// user's, who can read and change it whatever its mode: there is no answer by it.
func TestForeignOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files of other users need root")
	}
	cloud, _ := startCloud(t, "foo.azurecr.io")
	const pem = "/etc/kubernetes/client.pem"
	certificate := `{"tenantId":"` + tenant + `","aadClientId":"` + clientID + `","aadClientCertPath":"` + pem + `"}`
	for name, c := range map[string]struct{ azure, file string }{
		"managed":     {configs["managed"], mirror.DefaultAzureConfig},
		"principal":   {configs["principal"], mirror.DefaultAzureConfig},
		"certificate": {certificate, pem},
	} {
		for way, args := range ways {
			n := plant(t, toFoo)
			writeFile(t, n.root, mirror.DefaultAzureConfig, c.azure)
			writeFile(t, n.root, pem, string(read(t, "../../credential/azure/testdata/client.pem")))
			file := filepath.Join(n.root, c.file)
			ask := func() result {
				return run(t, cloud, names[0], request(mcrImage), append([]string{"--root=" + n.root, "--token-cache="}, args...)...)
			}
			// Of the certificate the stand-in knows nothing.
			if got := ask(); got.code != 0 && !strings.Contains(got.stderr, "register the certificate") {
				t.Errorf("%s, %s: it exits %d with %s", name, way, got.code, got.stderr)
			}
			if err := os.Chown(file, 65534, 0); err != nil {
				t.Fatal(err)
			}
			want := file + " belongs to user 65534, and is not used"
			if got := ask(); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, want) || !strings.Contains(got.stderr, "; run: chown root "+file) && c.file != pem {
				t.Errorf("%s, %s: it exits %d with %s%s; want %q", name, way, got.code, got.stdout, got.stderr, want)
			}
		}
	}
}
