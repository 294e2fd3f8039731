package pullsecret

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/pullsecrettest"
)

const canary = pullsecrettest.Canary

// script writes a program for exec.
func script(t *testing.T, text string) string {
	t.Helper()
	path := pullsecrettest.Write(t, "get-token", "#!/bin/sh\n"+text)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func printing(version, status string) string {
	return "cat <<'EOF'\n" + fmt.Sprintf(`{"apiVersion":%q,"kind":"ExecCredential","status":%s}`, version, status) + "\nEOF\n"
}

// TestIdentities checks each way in which a node proves who it is.
func TestIdentities(t *testing.T) {
	for name, user := range map[string]func(t *testing.T, a *pullsecrettest.API) string{
		"data": func(t *testing.T, a *pullsecrettest.API) string { return "" },
		"files": func(t *testing.T, a *pullsecrettest.API) string {
			return fmt.Sprintf("{client-certificate: %q, client-key: %q}", pullsecrettest.Write(t, "node.crt", string(a.Cert)), pullsecrettest.Write(t, "node.key", string(a.Key)))
		},
		"both in one file, as the kubelet's own": func(t *testing.T, a *pullsecrettest.API) string {
			file := pullsecrettest.Write(t, "kubelet-client-current.pem", string(a.Cert)+string(a.Key))
			return fmt.Sprintf("{client-certificate: %q, client-key: %[1]q}", file)
		},
		"token": func(t *testing.T, a *pullsecrettest.API) string {
			return "{token: " + pullsecrettest.Bearer + "}"
		},
		"tokenFile before token": func(t *testing.T, a *pullsecrettest.API) string {
			return fmt.Sprintf("{tokenFile: %q, token: old}", pullsecrettest.Write(t, "token", pullsecrettest.Bearer+"\n"))
		},
		"exec": func(t *testing.T, a *pullsecrettest.API) string {
			return fmt.Sprintf("{exec: {apiVersion: %s, command: %q}}", execV1, script(t, printing(execV1, `{"token":"`+pullsecrettest.Bearer+`"}`)))
		},
		"exec v1beta1 with a certificate": func(t *testing.T, a *pullsecrettest.API) string {
			status := fmt.Sprintf(`{"clientCertificateData":%q,"clientKeyData":%q}`, a.Cert, a.Key)
			return fmt.Sprintf("{exec: {apiVersion: %s, command: %q, interactiveMode: IfAvailable}}", execV1beta1, script(t, printing(execV1beta1, status)))
		},
		"exec with arguments, environment and cluster": func(t *testing.T, a *pullsecrettest.API) string {
			program := script(t, `[ "$1 $NAME" = "get-token n1" ] || exit 3
case "$KUBERNETES_EXEC_INFO" in *'"kind":"ExecCredential"'*`+a.URL+`*'"interactive":false'*) ;; *) exit 4;; esac
`+printing(execV1, `{"token":"`+pullsecrettest.Bearer+`"}`))
			return fmt.Sprintf("{exec: {apiVersion: %s, command: %q, args: [get-token], env: [{name: NAME, value: n1}], provideClusterInfo: true}}", execV1, program)
		},
	} {
		t.Run(name, func(t *testing.T) {
			api, o := newAPI(t)
			api.Pod("a", "web", uid, "pull")
			api.Login("a", "pull", target+" t")
			o.Kubeconfig = pullsecrettest.Write(t, "kubelet.conf", api.Kubeconfig(user(t, api)))
			if names, _, err := ask(t, o, query(t, image)); !slices.Equal(names, []string{"t"}) {
				t.Errorf("Credentials = %q, %v", names, err)
			}
		})
	}
}

// TestRelativePaths checks that paths, and a program's, begin at the kubeconfig, and that
// a program without a slash is looked up.
func TestRelativePaths(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "pull")
	api.Login("a", "pull", target+" t")
	dir := t.TempDir()
	for name, data := range map[string]string{
		"ca.crt": string(api.CA()), "get-token": "#!/bin/sh\n" + printing(execV1, `{"token":"`+pullsecrettest.Bearer+`"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, command := range []string{"./get-token", "get-token"} {
		text := pullsecrettest.Kubeconfig(fmt.Sprintf("{server: %q, certificate-authority: ca.crt}", api.URL), fmt.Sprintf("{exec: {apiVersion: %s, command: %q}}", execV1, command))
		o.Kubeconfig = filepath.Join(dir, "kubelet.conf")
		if err := os.WriteFile(o.Kubeconfig, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if names, _, err := ask(t, o, query(t, image)); !slices.Equal(names, []string{"t"}) {
			t.Errorf("with command %q: Credentials = %q, %v", command, names, err)
		}
	}
}

// TestRenewedCertificate checks that the node's certificate is read at each run.
func TestRenewedCertificate(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "pull")
	api.Login("a", "pull", target+" t")
	file := pullsecrettest.Write(t, "kubelet-client-current.pem", string(api.Cert)+string(api.Key))
	o.Kubeconfig = pullsecrettest.Write(t, "kubelet.conf", api.Kubeconfig(fmt.Sprintf("{client-certificate: %q, client-key: %[1]q}", file)))
	for range 2 {
		if names, _, err := ask(t, o, query(t, image)); !slices.Equal(names, []string{"t"}) {
			t.Fatalf("Credentials = %q, %v", names, err)
		}
		api.Cert, api.Key = pullsecrettest.NewCert(t, time.Now().Add(time.Hour))
		if err := os.WriteFile(file, append(slices.Clone(api.Cert), api.Key...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKubeconfigFaults checks what is refused, and that nothing of the file is repeated
// and nothing asked.
func TestKubeconfigFaults(t *testing.T) {
	expired, key := pullsecrettest.NewCert(t, time.Date(2020, 5, 4, 3, 2, 0, 0, time.UTC))
	encoded := base64.StdEncoding.EncodeToString
	const user = "{token: " + canary + "}"
	for in, want := range map[string]string{
		"\t" + canary:      "this is not a kubeconfig as YAML or JSON",
		"[" + canary + "]": "this is not a kubeconfig",
		"a: *" + canary:    "this is not a kubeconfig",
		"current-context: x\nusers: [{name: u, user: {token: " + canary + "}}]":                                                                                                              `there is no context "x", which current-context names`,
		pullsecrettest.Kubeconfig("{}", user):                                                                                                                                                "server is not the URL of an API server",
		pullsecrettest.Kubeconfig("{server: 'http://10.0.0.1'}", user):                                                                                                                       `the scheme "http", which is not encrypted`,
		pullsecrettest.Kubeconfig("{server: 'https://u:"+canary+"@10.0.0.1'}", user):                                                                                                         "is not the URL of an API server",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1', insecure-skip-tls-verify: true}", user):                                                                                      "insecure-skip-tls-verify: others on the network could take the node's identity; remove it",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1', proxy-url: ':"+canary+"'}", user):                                                                                            "proxy-url is not a URL",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1', certificate-authority-data: '"+canary+"!'}", user):                                                                           "certificate-authority-data of the node's kubeconfig is not base64",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1', certificate-authority-data: "+encoded([]byte(canary))+"}", user):                                                             "holds no certificate as PEM",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1', certificate-authority: /nowhere/ca.crt}", user):                                                                              "certificate-authority of the node's kubeconfig: ",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{}"):                                                                                                                      "has no client certificate, token or exec",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{as: admin, token: "+canary+"}"):                                                                                          `the user has "as"`,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{username: u, password: "+canary+"}"):                                                                                     "a username and a password",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{auth-provider: {name: gcp}}"):                                                                                            "an auth-provider",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{token: 'a "+canary+"'}"):                                                                                                 "holds spaces or control characters",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{tokenFile: /nowhere/token}"):                                                                                             "tokenFile of the node's kubeconfig: ",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{client-certificate-data: "+encoded([]byte(canary))+"}"):                                                                  "do not go together as PEM",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", encoded(expired), encoded(key))):                         "expired at 2020-05-04 03:02; see in the kubelet's log why",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: /x}}"):                                                `exec of the node's kubeconfig: apiVersion "client.authentication.k8s.io/v1alpha1" is unknown`,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+"}}"):                                                                                        "it has no command",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: nowhere-at-all}}"):                                                               `there is no "nowhere-at-all" in PATH`,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: /nowhere/x}}"):                                                                   `"/nowhere/x" does not exist; install it`,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: /x, interactiveMode: Always}}"):                                                  "interactiveMode is Always",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: "+script(t, "echo "+canary)+"}}"):                                                "it prints no ExecCredential of " + execV1,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: "+script(t, printing(execV1beta1, `{"token":"`+canary+`"}`))+"}}"):               "it prints no ExecCredential of " + execV1,
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", command: "+script(t, printing(execV1, `{}`))+"}}"):                                        "has no client certificate, token or exec",
		pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1'}", "{exec: {apiVersion: "+execV1+", env: [{name: X, value: "+canary+"}], command: "+script(t, "echo no $X >&2; exit 1")+"}}"): "exit status 1",
	} {
		o := Options{Kubeconfig: pullsecrettest.Write(t, "kubelet.conf", in), Audience: audience}
		names, _, err := ask(t, o, query(t, image))
		if err == nil || !strings.Contains(err.Error(), want) || len(names) > 0 {
			t.Errorf("with %s:\nCredentials = %q, %v; want %s", in, names, err, want)
		}
	}
}

// TestUsualPlaces checks that a kubeconfig which is not named is looked for.
func TestUsualPlaces(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "pull")
	api.Login("a", "pull", target+" t")
	for _, place := range usual {
		root := t.TempDir()
		file := filepath.Join(root, place)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(api.Kubeconfig("")), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Kubeconfig, o.ReadFile = "", below(root)
		if names, _, err := ask(t, o, query(t, image)); !slices.Equal(names, []string{"t"}) {
			t.Errorf("with %s: Credentials = %q, %v", place, names, err)
		}
	}
	o.ReadFile = below(t.TempDir())
	if _, _, err := ask(t, o, query(t, image)); err == nil || !strings.Contains(err.Error(), "is not at /etc/kubernetes/kubelet.conf, /var/lib/kubelet/kubeconfig, ") {
		t.Errorf("without any: %v", err)
	}
}

// TestTokenFaults checks that a token which is not one for this plugin, or names no pod,
// gets nothing, and that the API server is not asked.
func TestTokenFaults(t *testing.T) {
	later := time.Now().Add(time.Hour)
	claims := func(text string) string {
		return "x." + base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + canary
	}
	for token, want := range map[string]string{
		"":                                    "the request has no service-account token",
		canary:                                "is not a JSON web token",
		"a." + canary + "!.c":                 "is not a JSON web token",
		claims(canary):                        "is not a JSON web token",
		claims(`{"aud":7}`):                   "is not a JSON web token",
		claims(`{"aud":"x` + audience + `"}`): `is not for the audience "mirrorcred"`,
		claims(`{"aud":"` + audience + `"}`):  "has expired",
		claims(`{"aud":["x","` + audience + `"],"exp":99999999999}`):                   "does not name a pod",
		pullsecrettest.Token("a", "web", uid, "https://kubernetes.default.svc", later): "is not for the audience",
		pullsecrettest.Token("a", "web", uid, audience, time.Now().Add(-time.Second)):  "has expired",
		pullsecrettest.Token("a", "..", uid, audience, later):                          "does not name a pod",
		pullsecrettest.Token("a/pods/x", "web", uid, audience, later):                  "does not name a pod",
		pullsecrettest.Token("a", "web?watch=true", uid, audience, later):              "does not name a pod",
		pullsecrettest.Token("a", "", uid, audience, later):                            "does not name a pod",
		pullsecrettest.Token("a", "web", "", audience, later):                          "does not name a pod",
	} {
		api, o := newAPI(t)
		q := query(t, image)
		q.ServiceAccountToken = credential.Secret(token)
		names, _, err := ask(t, o, q)
		if err == nil || !strings.Contains(err.Error(), want) || len(names) > 0 {
			t.Errorf("with token %s: %q, %v; want %s", token, names, err, want)
		}
		if got := api.Requests(); len(got) > 0 {
			t.Errorf("with token %s: the API server was asked for %q", token, got)
		}
	}
}
