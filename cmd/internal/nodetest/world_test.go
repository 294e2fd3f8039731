package nodetest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestMain is the containerd of one pull if a test started it as one.
func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if done, err := nodetest.Containerd(context.Background(), ways, os.Stdin, os.Stdout); done {
		return 0, err
	}
	var err error
	if bin, err = os.MkdirTemp("", "nodetest-bin-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	return m.Run(), nil
}

// bin is where the programs are, and build builds them there, once: within a
// test, for the cache of "go test" does not see what TestMain looks at.
var (
	bin   string
	build = sync.OnceValue(func() error { return nodetest.Build(context.Background(), bin) })
)

// A world is a node and the registries around it.
type world struct {
	*testing.T
	cloud   *azuretest.Cloud
	node    *nodetest.Node
	acrs    map[string]*azuretest.ACR
	sources map[string]*azuretest.Source
	secrets []string // files that hold secrets of their own
}

// newWorld returns a node without a map, and these sources around it.
func newWorld(t *testing.T, sources ...string) *world {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	node, err := nodetest.New(t.TempDir(), bin, cloud.Env())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, cloud, node, map[string]*azuretest.ACR{}, map[string]*azuretest.Source{}, nil}
	for _, host := range sources {
		if w.sources[host], err = cloud.AddSource(host, azuretest.SourceOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(w.checkFiles)
	return w
}

// add serves a registry and returns the digest of the image in it, "" if
// repository is.
func (w *world) add(host, repository, tag string, o azuretest.ACROptions) string {
	w.Helper()
	acr, err := w.cloud.AddACR(host, o)
	if err != nil {
		w.Fatal(err)
	}
	w.acrs[host] = acr
	if repository == "" {
		return ""
	}
	digest, err := acr.PushRandom(repository, tag)
	if err != nil {
		w.Fatal(err)
	}
	return digest
}

// apply writes a map and has mirrorcred apply it, which has to succeed.
func (w *world) apply(mirrorMap string) string {
	w.Helper()
	if err := w.node.WriteFile(nodetest.MapFile, mirrorMap); err != nil {
		w.Fatal(err)
	}
	run, err := w.node.Apply(w.Context())
	if err != nil || run.Code != 0 {
		w.Fatalf("mirrorcred apply = exit code %d, %v: %s%s", run.Code, err, run.Stdout, run.Stderr)
	}
	w.noSecret("mirrorcred's output", run.Stdout+run.Stderr)
	return run.Stdout
}

// ask asks the plugin for an image.
func (w *world) ask(image string) nodetest.Answer {
	w.Helper()
	answer, err := w.node.RunPlugin(w.Context(), image)
	if err != nil {
		w.Fatalf("RunPlugin(%s): %v", image, err)
	}
	w.noSecret("the plugin's standard error", answer.Run.Stderr)
	return answer
}

// pull pulls an image with each of the credentials, as the kubelet does, until
// one brings it; without any if there is none
// (k8s.io/kubernetes v1.36.3, pkg/kubelet/kuberuntime/kuberuntime_image.go).
func (w *world) pull(way, image string, credentials []nodetest.Credential) (last nodetest.Pulled, attempts int) {
	w.Helper()
	if len(credentials) == 0 {
		credentials = []nodetest.Credential{{}}
	}
	for i, c := range credentials {
		var err error
		if last, err = w.node.Pull(w.Context(), way, image, c); err != nil {
			w.Fatal(err)
		}
		if last.Fault == "" {
			return last, i + 1
		}
	}
	return last, len(credentials)
}

// forget empties the records of all registries but those of the sources.
func (w *world) forget() {
	for _, acr := range w.acrs {
		acr.Forget()
	}
}

func (w *world) noSecret(where, text string) {
	w.Helper()
	if strings.Contains(text, azuretest.Canary) {
		w.Errorf("there is a secret in %s:\n%s", where, text)
	}
}

// writeSecret writes a file that holds a secret, and that root may execute.
func (w *world) writeSecret(path, text string) error {
	w.secrets = append(w.secrets, w.node.Path(path))
	if err := w.node.WriteFile(path, text); err != nil {
		return err
	}
	return os.Chmod(w.node.Path(path), 0o700)
}

// checkFiles holds that no file of the node has a secret in it, but those that
// were written with one, and the token cache, which is for root alone.
func (w *world) checkFiles() {
	cache := w.node.Path("run/mirrorcred/tokens")
	err := filepath.WalkDir(w.node.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == w.node.Path(nodetest.AzureFile) || slices.Contains(w.secrets, path) {
			return err
		}
		if filepath.Dir(path) == cache {
			w.noSecret("a name in the token cache", path)
			return w.checkPrivate(cache, path)
		}
		data, err := os.ReadFile(path)
		w.noSecret(path, string(data))
		return err
	})
	if err != nil {
		w.Error(err)
	}
}

// checkPrivate holds that only the owner may read a file and list its directory.
func (w *world) checkPrivate(paths ...string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			w.Errorf("others may reach %s: %v", path, info.Mode())
		}
	}
	return nil
}

// strays returns the tokens that a registry was sent and that are of another
// registry. login is the one that the password of the stand-in is for.
func strays(host, login string, requests []azuretest.Request) []string {
	var list []string
	for _, r := range requests {
		if strings.HasSuffix(r.URL, "/oauth2/exchange") {
			continue // takes the token of Entra ID
		}
		_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), "Bearer ")
		for _, token := range []string{bearer, r.Form.Get("password"), r.Form.Get("refresh_token"), basic(r)} {
			to := audience(token)
			if token == azuretest.DefaultClientSecret {
				to = login
			}
			if token != "" && to != host {
				list = append(list, fmt.Sprintf("%s %s was sent a token of %q", r.Method, r.URL, to))
			}
		}
	}
	return list
}

func basic(r azuretest.Request) string {
	encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic ")
	if !ok {
		return ""
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return encoded
	}
	_, password, _ := strings.Cut(string(decoded), ":")
	return password
}

// audience returns the registry that a token of the stand-in is for.
func audience(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "nobody"
	}
	var claims struct {
		Audience string `json:"aud"`
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return "nobody"
	}
	return claims.Audience
}
