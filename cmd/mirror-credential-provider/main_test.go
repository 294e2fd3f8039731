//go:build linux

// The tests here run the built program as the kubelet runs it, with a stand-in
// for Azure that its environment points at.
package main_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// binDir holds the program under both its names.
var binDir string

// names are what the program is called: its own, and that of the one it stands in for.
var names = [...]string{"mirror-credential-provider", "acr-credential-provider"}

// shared is the stand-in that this process's own environment points at, for
// runs without a process of their own.
var shared *azuretest.Cloud

func TestMain(m *testing.M) {
	flag.Parse()
	// Those that run at once wait more than they work.
	flag.Set("test.parallel", "8")
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build builds the program, starts the shared stand-in and runs the tests.
func build(m *testing.M) (int, error) {
	var err error
	if binDir, err = os.MkdirTemp("", "mirror-credential-provider-*"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(binDir)
	// A test runs the program as another user.
	if err := os.Chmod(binDir, 0o755); err != nil {
		return 0, err
	}
	compile := exec.Command("go", "build", "-o", filepath.Join(binDir, names[0]), ".")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if err := os.Symlink(names[0], filepath.Join(binDir, names[1])); err != nil {
		return 0, err
	}
	if shared, err = azuretest.Start(azuretest.Options{}); err != nil {
		return 0, err
	}
	defer shared.Close()
	for _, pair := range shared.Env() {
		key, value, _ := strings.Cut(pair, "=")
		os.Setenv(key, value)
	}
	return m.Run(), nil
}

// startCloud returns a stand-in with some registries.
func startCloud(t *testing.T, registries ...string) (*azuretest.Cloud, map[string]*azuretest.ACR) {
	t.Helper()
	cloud, err := azuretest.Start(azuretest.Options{Identities: []azuretest.Identity{{ClientID: "99999999-8888-7777-6666-555555555555"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	acrs := map[string]*azuretest.ACR{}
	for _, host := range registries {
		if acrs[host], err = cloud.AddACR(host, azuretest.ACROptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return cloud, acrs
}

// request is what the kubelet writes for an image.
func request(image string) string {
	return fmt.Sprintf(`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":%q}`, image)
}

// A result is what came of one run.
type result struct {
	stdout, stderr string
	code           int
	took           time.Duration
}

// tokenText is a token of the stand-in, of which only its kind is the same in
// each run.
var tokenText = regexp.MustCompile(`[\w-]+\.[\w-]+\.` + azuretest.Canary + `(\w+)-\w+`)

// command returns the program under a name, with no environment but the
// stand-in's. It is killed after half the time that the kubelet gives it, and
// has no log if that would be this machine's own.
func command(t *testing.T, cloud *azuretest.Cloud, name string, args ...string) *exec.Cmd {
	t.Helper()
	if !strings.Contains(strings.Join(args, " "), "--root=") {
		args = append([]string{"--audit-log="}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, name), args...)
	cmd.Env = cloud.Env()
	return cmd
}

// run runs the program under a name; see [finish].
func run(t *testing.T, cloud *azuretest.Cloud, name, stdin string, args ...string) result {
	t.Helper()
	return finish(t, command(t, cloud, name, args...), stdin)
}

// finish runs a command and holds what is true of every run: exit code 0 or 1,
// nothing on standard output and one line on standard error if it fails,
// and no secret on standard error.
func finish(t *testing.T, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	return finishAs(t, cmd, filepath.Base(cmd.Path), stdin)
}

// finishAs is [finish] for a command that becomes the program of a name.
func finishAs(t *testing.T, cmd *exec.Cmd, name, stdin string) result {
	t.Helper()
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(started)}
	r.check(t, name)
	return r
}

func (r result) check(t *testing.T, name string) {
	t.Helper()
	if r.code != 0 && r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	if strings.Contains(r.stderr, azuretest.Canary) {
		t.Errorf("standard error holds a secret: %s", r.stderr)
	}
	if strings.Contains(r.stdout, azuretest.Canary+"entra") || strings.Contains(r.stdout, azuretest.Canary+"identity") {
		t.Errorf("standard output holds a token that is not for the kubelet: %s", r.stdout)
	}
	if r.code == 0 {
		return
	}
	if r.stdout != "" {
		t.Errorf("a run that fails writes %q to standard output", r.stdout)
	}
	if !strings.HasPrefix(r.stderr, name+": ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
		t.Errorf("a run that fails says %q; want one line that begins with %q", r.stderr, name+": ")
	}
}

// answer returns standard output with its tokens as their kinds.
func (r result) answer() string { return tokenText.ReplaceAllString(r.stdout, "<$1>") }

// writeFile writes a file of a test and returns its path.
func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
