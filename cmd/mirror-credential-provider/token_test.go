//go:build linux

package main_test

import (
	"cmp"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
)

// tokenMaps are maps with a credential NAME that is got with a pod's token for
// aud, and the image that the pod pulls.
var tokenMaps = map[string]string{
	"azure": `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["foo.azurecr.io/mcr"]
[credential.azure]
kind = "azure"
audience = "aud"
`,
	"required": `version = 1
[registry."foo.azurecr.io"]
credential = "required"
[credential.required]
kind = "azure"
audience = "aud"
require = true
`,
	"defaults": `version = 1
[registry."foo.azurecr.io"]
credential = "defaults"
[credential.defaults]
kind = "azure"
audience = "aud"
client_id = "` + podID + `"
tenant_id = "` + podTenant + `"
`,
	"bound": `version = 1
[registry."foo.azurecr.io"]
credential = "bound"
[credential.bound]
kind = "azure"
audience = "aud"
identity_binding = { sni_name = "` + bindingName + `", api_server = "@server" }
`,
	"pods": `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443/hub", "foo.azurecr.io/mcr"]
share_credential = true
[registry."harbor.corp:8443"]
credential = "pods"
[credential.pods]
kind = "service-account-token"
username = "robot"
audience = "aud"
`,
	"exec": `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443/hub"]
[registry."harbor.corp:8443"]
credential = "exec"
[credential.exec]
kind = "exec"
command = "/bin/provider"
audience = "aud"
annotations = ["a.io/role"]
`,
}

// provider answers with what it was asked for as the password.
const provider = `#!/bin/sh
asked=$(base64 -w0)
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"harbor.corp:8443":{"username":"x","password":"'$asked'"}}}'
`

// TestTokenProviders checks which provider answers what if a credential is
// got with a pod's token, and who the pod is then.
func TestTokenProviders(t *testing.T) {
	const (
		acr    = "foo.azurecr.io/x"
		direct = byImage + `,"auth":{"foo.azurecr.io":` + token + "}}\n"
		ofNode = byImage + `,"auth":{"mcr.microsoft.com":` + token + "}}\n"
		robot  = `{"username":"robot","password":"` + podToken + `"}`
	)
	for _, test := range []struct {
		name  string // of the map and its credential
		as    string // "own" for the plugin's own provider, or the audience of the credential's
		stdin string
		who   string // "pod", "bound" or "node" asks for the token; "" means none does
		want  string
	}{
		{"azure", "own", request(mcrImage), "node", ofNode},
		{"azure", "own", request(acr), "", noAnswer},
		{"azure", "aud", ofPod(acr, podBoth), "pod", direct},
		{"azure", "aud", ofPod(acr, ""), "node", direct},
		{"azure", "aud", request(acr), "node", direct},
		{"azure", "aud", ofPod(acr, podClient), "", "no tenant id annotation"},
		{"azure", "aud", ofPod(mcrImage, podBoth), "", noAnswer},
		{"azure", "other", ofPod(acr, podBoth), "", `credential "azure" needs a token for "aud", but the kubelet passes one for "other"; restart the kubelet`},
		{"required", "aud", ofPod(acr, podBoth), "pod", direct},
		{"required", "aud", ofPod(acr, ""), "", "no client id annotation"},
		{"required", "aud", request(acr), "", "but the request has none; give the pod a service account"},
		{"required", "own", request(acr), "", noAnswer},
		{"defaults", "aud", ofPod(acr, ""), "pod", direct},
		{"defaults", "aud", request(acr), "node", direct},
		{"bound", "aud", ofPod(acr, podClient), "bound", direct},
		{"bound", "aud", ofPod(acr, ""), "node", direct},
		{"pods", "aud", ofPod(mcrImage, ""), "", byImage + `,"auth":{"` + mcrImage + `":` + robot + "}}\n"},
		{"pods", "own", ofPod(mcrImage, ""), "node", ofNode},
		{"pods", "aud", request(mcrImage), "", "the request has none; give the pod a service account"},
		{"exec", "own", ofPod(mcrImage, ""), "", noAnswer},
	} {
		t.Run(test.name+" as "+test.as, func(t *testing.T) {
			t.Parallel()
			cloud, _, binding := startPodCloud(t)
			n := plant(t, strings.ReplaceAll(tokenMaps[test.name], "@server", binding.Address))
			writeFile(t, n.root, "/etc/kubernetes/certs/ca.crt", string(binding.CA))
			args := []string{fromRoute, "--root=" + n.root}
			if test.as != "own" {
				args = append(args, "--credential="+test.name, "--audience="+test.as)
			}
			got := run(t, cloud, names[0], test.stdin, args...)
			if want := strings.HasPrefix(test.want, "{"); want && got.answer() != test.want || want != (got.code == 0) || !want && !strings.Contains(got.stderr, test.want) {
				t.Errorf("%s: it exits %d with %s%s; want %s", test.stdin, got.code, got.answer(), got.stderr, test.want)
			}
			asked := map[string]int{"pod": len(cloud.Entra.Requests()), "bound": len(binding.Requests()), "node": len(cloud.Identity.Requests())}
			for who, n := range asked {
				if (n > 0) != (who == test.who) {
					t.Errorf("%s: %s asked %d times; want %q alone to ask", test.stdin, who, n, test.who)
				}
			}
			// Neither the log nor the cache has what is the pod's.
			for _, file := range []string{"var/log/mirrorcred/plugin.jsonl", "run/mirrorcred/tokens"} {
				filepath.WalkDir(filepath.Join(n.root, file), func(path string, e os.DirEntry, err error) error {
					if err == nil && e.Type().IsRegular() && strings.Contains(string(read(t, path)), podToken) {
						t.Errorf("%s holds the pod's token", path)
					}
					return nil
				})
			}
		})
	}
}

// listMap gives a registry a list of credentials: of the pod, of the node from the
// docker config.json bad and from the other one, and then none.
const listMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443/hub"]
[registry."harbor.corp:8443"]
credential = ["pods", "bad", "good", "anonymous"]
[credential.pods]
kind = "service-account-token"
username = "robot"
audience = "aud"
[credential.bad]
kind = "docker-config"
path = "/etc/mirrorcred/bad.json"
[credential.good]
kind = "docker-config"
path = "/etc/mirrorcred/good.json"
`

// TestLists checks that a pull tries the credentials of a list in their order, by
// the answers of two providers, and without those that cannot be fetched.
func TestLists(t *testing.T) {
	const login = `{"auths":{"harbor.corp:8443":{"username":"USER","password":"CANARY"}}}`
	for name, test := range map[string]struct {
		stdin     string
		bad, good bool // whether they can be fetched
		want      string
	}{
		"a pod":                      {ofPod(mcrImage, ""), true, true, "robot bad good anonymous"},
		"a static pod":               {request(mcrImage), true, true, "bad good anonymous"},
		"a pod, and one is missing":  {ofPod(mcrImage, ""), false, true, "robot good anonymous"},
		"a short name":               {ofPod("mcr.microsoft.com/x", ""), true, true, "robot bad good anonymous"},
		"a short name, one missing":  {ofPod("mcr.microsoft.com/x", ""), true, false, "robot bad anonymous"},
		"a pod, and two are missing": {ofPod(mcrImage, ""), false, false, "robot"},
		"none":                       {request(mcrImage), false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, _, _ := startPodCloud(t)
			n := plant(t, listMap)
			for file, is := range map[string]bool{"bad": test.bad, "good": test.good} {
				if is {
					if err := os.Chmod(writeFile(t, n.root, "/etc/mirrorcred/"+file+".json", strings.Replace(login, "USER", file, 1)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			var answers []map[string]credential.Credential
			own := run(t, cloud, names[0], test.stdin, fromRoute, "--root="+n.root)
			if (own.code == 0) != (test.bad || test.good) || own.code != 0 && !strings.Contains(own.stderr, "good.json") {
				t.Errorf("the plugin's own provider exits %d with %s", own.code, own.stderr)
			}
			if own.code == 0 {
				answers = append(answers, decodeAuth(t, own.stdout))
				if missing := !test.bad || !test.good; missing != strings.Contains(own.stderr, "answered without one of the credentials") {
					t.Errorf("it says %q", own.stderr)
				}
			}
			if test.stdin != request(mcrImage) {
				pods := run(t, cloud, names[0], test.stdin, fromRoute, "--root="+n.root, "--credential=pods", "--audience=aud")
				answers = append(answers, decodeAuth(t, pods.stdout))
			}
			image := mcrImage
			if !strings.Contains(test.stdin, mcrImage) {
				image = "mcr.microsoft.com/x"
			}
			var tried []string
			for _, c := range credential.Attempts(answers, image) {
				tried = append(tried, cmp.Or(c.Username, "anonymous"))
			}
			if got := strings.Join(tried, " "); got != test.want {
				t.Errorf("a pull tries %q; want %q", got, test.want)
			}
		})
	}
}

func decodeAuth(t *testing.T, answer string) map[string]credential.Credential {
	t.Helper()
	response, err := credential.DecodeResponse([]byte(answer))
	if err != nil {
		t.Fatalf("the answer is %s: %v", answer, err)
	}
	return response.Auth
}

// TestTokenToExec checks that another provider is handed the pod's token and its
// annotations, each time.
func TestTokenToExec(t *testing.T) {
	cloud, _, _ := startPodCloud(t)
	n := plant(t, tokenMaps["exec"])
	if err := os.Chmod(writeFile(t, n.root, "/bin/provider", provider), 0o755); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, role := range []string{"one", "two"} {
		cmd := command(t, cloud, names[0], fromRoute, "--root="+n.root, "--credential=exec", "--audience=aud")
		cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
		got := finish(t, cmd, ofPod(mcrImage, `"a.io/role":"`+role+`"`))
		answers = append(answers, got.stdout)
		for _, want := range []string{podToken, role, "harbor.corp:8443/hub/oss/kubernetes/pause"} {
			if asked := decodeAsked(t, got.stdout); !strings.Contains(asked, want) {
				t.Errorf("the provider was asked %s; want %q in it", asked, want)
			}
		}
	}
	if answers[0] == answers[1] {
		t.Error("both pods are answered alike")
	}
}

// decodeAsked returns the request that the provider was given.
func decodeAsked(t *testing.T, answer string) string {
	t.Helper()
	_, rest, _ := strings.Cut(answer, `"password":"`)
	text, _, _ := strings.Cut(rest, `"`)
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("the answer is %s: %v", answer, err)
	}
	return string(data)
}
