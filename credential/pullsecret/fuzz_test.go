package pullsecret

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/pullsecrettest"
)

// below returns a function that reads the files below a directory.
func below(root string) func(context.Context, string) ([]byte, error) {
	return func(_ context.Context, path string) ([]byte, error) { return os.ReadFile(filepath.Join(root, path)) }
}

// FuzzKubeconfig checks that whatever a kubeconfig says, only an encrypted and verified
// connection comes of it, and that no error is longer than a line.
func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(pullsecrettest.Kubeconfig("{server: 'https://10.0.0.1:6443', proxy-url: 'http://p'}", "{token: t}")))
	f.Add([]byte(`{"current-context":"x","contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}]}`))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseKubeconfig("/etc/kubernetes/kubelet.conf", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("the error has lines: %q", err)
			}
			return
		}
		if k.server.Scheme != "https" || k.server.Host == "" || k.cluster.Insecure {
			t.Errorf("server %s, insecure %t", k.server, k.cluster.Insecure)
		}
	})
}

// FuzzToken checks that a token names a pod only if its names cannot lead elsewhere in
// the API.
func FuzzToken(f *testing.F) {
	f.Add(pullsecrettest.Token("a", "web", "1", audience, time.Unix(1<<33, 0)))
	f.Add("a.e30.c")
	f.Fuzz(func(t *testing.T, token string) {
		who, err := parseToken(credential.Secret(token), audience, time.Unix(0, 0))
		if err == nil && (strings.ContainsAny(who.namespace+who.pod, "/?#%\\ ") || who.uid == "" || strings.Trim(who.pod, ".") == "") {
			t.Errorf("%+v", who)
		}
	})
}

// FuzzObjects checks that whatever the API server answers, it is an answer or a line.
func FuzzObjects(f *testing.F) {
	f.Add(`{"metadata":{"uid":"`+uid+`"},"spec":{"imagePullSecrets":[{"name":"pull"}]}}`, `{"type":"kubernetes.io/dockercfg","data":{".dockercfg":"e30="}}`)
	f.Add(`null`, `{"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"eyJhdXRocyI6eyJoYXJib3IuY29ycDo4NDQzIjp7ImF1dGgiOiJkVHB3In19fQ=="}}`)
	api := pullsecrettest.New(f)
	o := Options{Kubeconfig: pullsecrettest.Write(f, "kubelet.conf", api.Kubeconfig("")), Audience: audience, RetryDelay: 1}
	q := query(f, image)
	f.Fuzz(func(t *testing.T, pod, secret string) {
		api.Set("a/pods/web", pod)
		api.Set("a/secrets/pull", secret)
		list, err := New(o).Credentials(t.Context(), q)
		for _, c := range list {
			if c.Username == "" || c.Password == "" {
				t.Error("a login lacks its name or its password")
			}
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has lines: %q", err)
		}
		if strange := api.Strange(); len(strange) > 0 {
			t.Errorf("asked for %q", strange)
		}
	})
}
