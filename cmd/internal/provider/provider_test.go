package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const answer = `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"a.io":{"username":"%s","password":"CANARY"}}}`

// newRunner returns a runner with a provider for each script.
func newRunner(t *testing.T, scripts map[string]string) Runner {
	t.Helper()
	r := Runner{Root: t.TempDir(), BinDir: "/bin"}
	if err := os.Mkdir(filepath.Join(r.Root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(r.Root, "bin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func entry(name, pattern string, args ...string) kubeletconfig.Entry {
	return kubeletconfig.Entry{Provider: kubeletconfig.Provider{Name: name, MatchImages: []string{pattern}, Args: args}}
}

func image(t *testing.T) mirror.Image {
	t.Helper()
	i, err := mirror.ParseImage("a.io/x:1")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestAsk runs the providers that match, in the order of the configuration; one that
// fails does not stop the next.
func TestAsk(t *testing.T) {
	r := newRunner(t, map[string]string{
		"one":   "cat >/dev/null; echo '" + fmt.Sprintf(answer, "one") + "'",
		"two":   "echo no identity >&2; echo CANARY >&2; exit 1",
		"three": "cat >/dev/null; echo '" + fmt.Sprintf(answer, "three") + "'",
		"other": "exit 1",
	})
	got := ""
	for _, a := range r.Request(t.Context(), []kubeletconfig.Entry{entry("three", "*.io"), entry("other", "b.io"), entry("two", "a.io"), entry("one", "a.io")}, image(t)) {
		got += fmt.Sprintf("%s %s %v\n", a.Provider, a.Auth["a.io"].Username, a.Err)
	}
	if want := "three three <nil>\ntwo  no identity\none one <nil>\n"; got != want {
		t.Errorf("the answers are\n%swant\n%s", got, want)
	}
}

// TestRunRoot holds that only mirrorcred's plugin is told of another root, and that
// the environment is the kubelet's.
func TestRunRoot(t *testing.T) {
	r := newRunner(t, map[string]string{"p": `cat >/dev/null; echo "$* HOME=$HOME PROXY=$HTTPS_PROXY" >&2; exit 1`})
	t.Setenv("HTTPS_PROXY", "http://wrong:1")
	r.Env = []string{"HOME=/kubelet", "PATH=" + os.Getenv("PATH")}
	for routes, want := range map[string]string{
		"--registry-mirror=@/routes": "--registry-mirror=@/routes --root=" + r.Root + " HOME=/kubelet PROXY=",
		"--other":                    "--other HOME=/kubelet PROXY=",
	} {
		one := entry("p", "a.io", routes)
		if one.Routes() != "" {
			one.Name = "p"
		}
		_, err := r.Run(t.Context(), one, image(t))
		if err == nil || err.Error() != want {
			t.Errorf("with %s it is run as %q; want %q", routes, err, want)
		}
	}
}

// TestUnusable tells what another run does not help from what it may.
func TestUnusable(t *testing.T) {
	r := newRunner(t, map[string]string{"fails": "exit 1", "garbage": "echo CANARY", "leaves": "cat >/dev/null; sleep 60 & echo '" + fmt.Sprintf(answer, "u") + "'"})
	for name, want := range map[string]bool{"fails": false, "garbage": true, "missing": true} {
		_, err := r.Run(t.Context(), entry(name, "a.io"), image(t))
		if err == nil || errors.Is(err, ErrUnusable) != want || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v; want it to be unusable: %t", name, err, want)
		}
	}
	// What a provider leaves running holds its pipes open.
	start := time.Now()
	if response, err := r.Run(t.Context(), entry("leaves", "a.io"), image(t)); err != nil || len(response.Auth) != 1 || time.Since(start) > 20*time.Second {
		t.Errorf("a provider that leaves a child: %v after %s", err, time.Since(start))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(ctx, entry("fails", "a.io"), image(t)); err == nil || errors.Is(err, ErrUnusable) {
		t.Errorf("a run that is stopped: %v", err)
	}
}

// TestRead reads the kubelet's configuration, a file or a directory.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	root := input.NewRoot(dir)
	text := "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: NAME\n  matchImages: [a.io]\n  defaultCacheDuration: 0s\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n"
	if err := os.MkdirAll(filepath.Join(dir, "conf.d", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.yaml", "conf.d/b.yaml", "conf.d/a.yaml", "conf.d/ignored.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "NAME", strings.TrimSuffix(filepath.Base(name), ".yaml"))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"one.yaml": "one ", "conf.d": "a b "} {
		entries, err := Read(root, filepath.Join(dir, path))
		got := ""
		for _, e := range entries {
			got += e.Name + " "
		}
		if err != nil || got != want {
			t.Errorf("Read(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := Read(root, filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Read of nothing: %v", err)
	}
}

func TestOneLine(t *testing.T) {
	if got := OneLine("a\n\x1b[31mb\t c\u202e"); got != "a [31mb c" {
		t.Errorf("OneLine = %q", got)
	}
}
