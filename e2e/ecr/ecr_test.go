// Package ecr holds that a kubelet credential provider as its makers ship it,
// that of Amazon ECR, serves as the credential of a mirror: the manager's own
// files, the plugin and the provider as programs, and a stand-in for ECR.
package ecr

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	plugin   = "/var/lib/kubelet/credential-provider/mirror-credential-provider"
	provider = "/usr/libexec/kubelet-plugins/ecr-credential-provider"
	canary   = "CANARY-"
	password = canary + "ecr-password"
	key      = canary + "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
)

// bin holds the programs.
var bin string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	var err error
	if bin, err = os.MkdirTemp("", "mirrorcred-ecr-*"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	for dir, packages := range map[string][]string{
		"../..": {"./cmd/mirrorcred", "./cmd/mirror-credential-provider"},
		".":     {"k8s.io/cloud-provider-aws/cmd/ecr-credential-provider"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", bin + "/"}, packages...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return m.Run(), nil
}

// An amazon stands in for ECR's API.
type amazon struct {
	*httptest.Server

	mu      sync.Mutex
	life    time.Duration // of the next token
	refusal string        // if any
	asked   []string      // what was asked for, and in which region
}

func startAmazon(t *testing.T) *amazon {
	a := &amazon{life: 12 * time.Hour}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// ServeHTTP implements [http.Handler].
func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	region := "unsigned"
	// Credential=ID/DATE/REGION/SERVICE/aws4_request, of Signature Version 4.
	if scope := strings.Split(r.Header.Get("Authorization"), "/"); len(scope) > 3 && strings.HasSuffix(scope[0], "Credential=AKIDEXAMPLE") {
		region = scope[2] + "/" + scope[3]
	}
	a.asked = append(a.asked, operation+" in "+region)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if a.refusal != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":"AccessDeniedException","message":%q}`, a.refusal)
		return
	}
	fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d,"proxyEndpoint":"https://%s"}]}`,
		base64.StdEncoding.EncodeToString([]byte("AWS:"+password)), time.Now().Add(a.life).Unix(), registry)
}

// set says how the next requests are answered, and forgets those before.
func (a *amazon) set(life time.Duration, refusal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life, a.refusal, a.asked = life, refusal, nil
}

func (a *amazon) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

func (a *amazon) check(t *testing.T, want ...string) {
	t.Helper()
	if got := a.requests(); !slices.Equal(got, want) {
		t.Errorf("ECR is asked %q; want %q", got, want)
	}
}

// plant has the manager bring a node below a directory to a map, and returns
// the directory.
func plant(t *testing.T, a *amazon) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("/etc/aws", "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = "+key+"\n", 0o600)
	write("/etc/mirrorcred/mirrors.toml", `version = 1

[[mirror]]
source  = "public.ecr.aws"
targets = ["`+registry+`/ecr-public"]

[registry."`+registry+`"]
credential = "ecr"

[credential.ecr]
kind    = "exec"
command = "`+provider+`"
env     = { AWS_ENDPOINT_URL = "`+a.URL+`", AWS_SHARED_CREDENTIALS_FILE = "`+root+`/etc/aws" }

[containerd]
version     = "2.2.0"
config_path = "/etc/containerd/certs.d"
`, 0o644)
	for _, path := range []string{provider, plugin} {
		// Not by a link: one that leads out of the root leads nowhere.
		program, err := os.ReadFile(filepath.Join(bin, filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		write(path, string(program), 0o755)
	}
	if out, err := exec.Command(filepath.Join(bin, "mirrorcred"), "apply", "--root", root).CombinedOutput(); err != nil {
		t.Fatalf("mirrorcred apply: %v\n%s", err, out)
	}
	return root
}

// pull runs the plugin as the kubelet does for an image, and returns what it
// answers and what it says.
func pull(t *testing.T, root, image string) (answer, said string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(root, plugin), "--registry-mirror=@/var/lib/mirrorcred/routes", "--root="+root)
	cmd.Stdin = strings.NewReader(`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"` + image + `"}`)
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // and nothing of AWS that this machine may have
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(stderr.String(), canary) || (stdout.Len() == 0) != (exit != nil) {
		t.Errorf("%s: %v, %s%s", image, exit, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

const (
	image = "public.ecr.aws/nginx/nginx"
	asked = "GetAuthorizationToken in eu-west-1/ecr"
)

// checkAnswer holds that the source is answered the target's credential.
func checkAnswer(t *testing.T, answer string) {
	t.Helper()
	var got struct {
		CacheDuration string
		Auth          map[string]struct{ Username, Password string }
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	if c := got.Auth["public.ecr.aws"]; c.Username != "AWS" || c.Password != password || len(got.Auth) != 1 || got.CacheDuration != "0s" {
		t.Errorf("the answer is %s", answer)
	}
}

// TestMirror checks that the provider is asked for the image at the target, that
// its answer is the source's, and that it is kept as long as it says: half as
// long as the token is good.
func TestMirror(t *testing.T) {
	a := startAmazon(t)
	root := plant(t, a)
	for _, other := range []string{image, image, "public.ecr.aws/docker/library/busybox"} {
		answer, said := pull(t, root, other)
		if checkAnswer(t, answer); said != "" {
			t.Errorf("it says %s", said)
		}
	}
	a.check(t, asked)
	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil {
		t.Fatal(err)
	}
	// A token that is about to expire must not be kept.
	a.set(time.Second, "")
	for range 2 {
		answer, _ := pull(t, root, image)
		checkAnswer(t, answer)
	}
	a.check(t, asked, asked)
}

// TestCachedUntilProviderExpires waits for the end of the time that the provider gives.
func TestCachedUntilProviderExpires(t *testing.T) {
	a := startAmazon(t)
	root := plant(t, a)
	const life = 10 * time.Second
	a.set(life, "")
	started := time.Now()
	for len(a.requests()) < 2 {
		answer, _ := pull(t, root, image)
		if checkAnswer(t, answer); time.Since(started) > life+time.Minute {
			t.Fatal("the answer is kept for longer than it is good")
		}
		time.Sleep(100 * time.Millisecond)
	}
	// The margin is a tenth; ECR counts in whole seconds.
	if kept := time.Since(started); kept < (life/2-time.Second)*9/10 {
		t.Errorf("the answer is kept for %s", kept)
	}
}

// TestRefused checks that the reason of the provider is that of the pull.
func TestRefused(t *testing.T) {
	a := startAmazon(t)
	root := plant(t, a)
	a.set(0, "User: arn:aws:iam::123456789012:user/node is not authorized to perform: ecr:GetAuthorizationToken")
	answer, said := pull(t, root, image)
	for _, want := range []string{registry, `credential "ecr"`, provider, "exit status 1", "AccessDeniedException", "is not authorized to perform: ecr:GetAuthorizationToken"} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %s; want %s", said, want)
		}
	}
	if answer != "" || strings.Count(said, "\n") != 1 {
		t.Errorf("it answers %s and says %s", answer, said)
	}
	a.check(t, asked)
}

// TestMissing holds the reason if the provider is not installed.
func TestMissing(t *testing.T) {
	a := startAmazon(t)
	root := plant(t, a)
	if err := os.Remove(filepath.Join(root, provider)); err != nil {
		t.Fatal(err)
	}
	if answer, said := pull(t, root, image); answer != "" || !strings.Contains(said, provider+`" does not exist; install it`) {
		t.Errorf("it answers %s and says %s", answer, said)
	}
	a.check(t)
}
