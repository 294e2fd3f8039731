//go:build linux

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	toBoth = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"foo.azurecr.io/mcr\"]\n" +
		"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"bar.azurecr.io\"]\n"
	quayAnswer = byImage + `,"auth":{"quay.io":` + token + "}}\n"
)

func (n tree) tokens() string { return filepath.Join(n.root, "run/mirrorcred/tokens") }

// asked counts the requests for tokens: of the identity, and of exchanges.
func asked(cloud *azuretest.Cloud, acrs ...*azuretest.ACR) (identity int, exchanges []int) {
	for _, acr := range acrs {
		n := 0
		for _, r := range acr.Requests() {
			if r.Method == http.MethodPost {
				n++
			}
		}
		exchanges = append(exchanges, n)
	}
	return len(cloud.Identity.Requests()), exchanges
}

// TestWarmCache checks that a second run makes no request, and has the first
// one's credential; that another registry is given its own, by the same
// identity; and that another identity is asked for.
func TestWarmCache(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	foo, bar := acrs["foo.azurecr.io"], acrs["bar.azurecr.io"]
	n := plant(t, toBoth)
	get := func(image, want string) string {
		t.Helper()
		got := run(t, cloud, names[0], request(image), fromRoute, "--root="+n.root)
		if got.code != 0 || got.answer() != want || got.stderr != "" {
			t.Errorf("%s: it exits %d with %s%s; want %s", image, got.code, got.answer(), got.stderr, want)
		}
		return got.stdout
	}
	first := get(mcrImage, mcrAnswer)
	cloud.Proxy.Forget()
	if again := get(mcrImage, mcrAnswer); again != first {
		t.Error("the second run has another credential")
	}
	get("mcr.microsoft.com/another/image", mcrAnswer)
	if requests := cloud.Proxy.Requests(); len(requests) > 0 {
		t.Errorf("the second run asks %v", requests)
	}
	if at := audience(t, get("quay.io/x", quayAnswer), "quay.io"); at != "bar.azurecr.io" {
		t.Errorf("the other mirror is answered the credential of %s", at)
	}
	if identity, exchanges := asked(cloud, foo, bar); identity != 1 || exchanges[0] != 1 || exchanges[1] != 1 {
		t.Errorf("%d requests for an identity, %d exchanges; want 1, 1 each", identity, exchanges)
	}
	writeFile(t, n.root, mirror.DefaultAzureConfig, configs["assigned"])
	if other := get(mcrImage, mcrAnswer); other == first {
		t.Error("another identity is answered the first one's credential")
	}
	if identity, exchanges := asked(cloud, foo, bar); identity != 2 || exchanges[0] != 2 {
		t.Errorf("after another identity: %d requests for an identity, %d exchanges; want 2, 2", identity, exchanges)
	}
	checkCache(t, n)
}

// TestPrivateCloudByRoute checks that mirrors may be in a private cloud, whose
// resource manager is asked once for all runs.
func TestPrivateCloudByRoute(t *testing.T) {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	manager, err := cloud.AddResourceManager("management.cloud.corp", azuretest.Environment{
		Name: "AzureCorp", Manager: "https://management.cloud.corp/", SignIn: "https://login.cloud.corp/", Registry: "azurecr.cloud.corp",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := "version = 1\n"
	for _, name := range []string{"foo", "bar"} {
		host := name + ".azurecr.cloud.corp"
		if _, err := cloud.AddACR(host, azuretest.ACROptions{}); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("[[mirror]]\nsource = \"%s.example\"\ntargets = [%q]\n[registry.%q]\ncredential = \"azure\"\n", name, host, host)
	}
	n := plant(t, text)
	writeFile(t, n.root, mirror.DefaultAzureConfig, `{"cloud":"AzureCorp","tenantId":"`+tenant+`","useManagedIdentityExtension":true,"resourceManagerEndpoint":"https://management.cloud.corp/"}`)
	for _, image := range []string{"foo.example/x", "bar.example/x", "foo.example/y"} {
		got := run(t, cloud, names[0], request(image), fromRoute, "--root="+n.root)
		if host, _, _ := strings.Cut(image, "/"); !strings.Contains(got.answer(), `"`+host+`":`+token) {
			t.Errorf("%s: it exits %d with %s%s", image, got.code, got.answer(), got.stderr)
		}
	}
	if asked := len(manager.Requests()); asked != 1 {
		t.Errorf("the resource manager was asked %d times; want once", asked)
	}
	checkCache(t, n)
}

// checkCache holds the modes of the cache and that no name has a secret in it.
func checkCache(t *testing.T, n tree) {
	t.Helper()
	files, err := os.ReadDir(n.tokens())
	if err != nil || len(files) == 0 {
		t.Errorf("the cache is empty: %v", err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil || info.Mode() != 0o600 || strings.Contains(file.Name(), azuretest.Canary) {
			t.Errorf("%s has the mode %v, %v", file.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(n.tokens()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info, err)
	}
}

// TestColdCache starts many at once: one of them asks.
func TestColdCache(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	n := plant(t, toBoth)
	identity, exchanges := storm(t, 60, func(i int) *exec.Cmd {
		cmd := command(t, cloud, names[0], fromRoute, "--root="+n.root)
		cmd.Stdin = strings.NewReader(request([]string{mcrImage, "quay.io/x"}[i%2]))
		return cmd
	}, cloud, acrs)
	if identity != 1 || exchanges[0] != 1 || exchanges[1] != 1 {
		t.Errorf("%d requests for an identity, %d exchanges; want 1, 1 each", identity, exchanges)
	}
	checkCache(t, n)
	events := readEvents(t, n)
	hits := 0
	for _, e := range events {
		if e.Outcome == audit.Answered && e.Targets[0].Cached {
			hits++
		}
	}
	if len(events) != 60 || hits != 58 {
		t.Errorf("%d events, %d of them from the cache; want 60, 58", len(events), hits)
	}
}

// storm runs many programs at once and returns what [asked] does.
func storm(t testing.TB, runs int, command func(int) *exec.Cmd, cloud *azuretest.Cloud, acrs map[string]*azuretest.ACR) (int, []int) {
	t.Helper()
	commands := make([]*exec.Cmd, runs)
	stderr := make([]bytes.Buffer, runs)
	for i := range commands {
		commands[i] = command(i)
		commands[i].Stderr = &stderr[i]
		if err := commands[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range commands {
		if err := cmd.Wait(); err != nil || stderr[i].Len() > 0 {
			t.Errorf("run %d: %v, %s", i, err, &stderr[i])
		}
	}
	return asked(cloud, acrs["foo.azurecr.io"], acrs["bar.azurecr.io"])
}

// TestBadCache breaks the cache of a node that has a credential in it: the
// pull gets its credential anyway, with a line that says what is wrong.
func TestBadCache(t *testing.T) {
	each := func(change func(path string) error) func(*testing.T, tree) {
		return func(t *testing.T, n tree) {
			files, err := filepath.Glob(n.tokens() + "/*[0-9a-f]")
			if err != nil || len(files) != 2 {
				t.Fatalf("the cache holds %q, %v", files, err)
			}
			for _, path := range files {
				if err := change(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	nobody := func(path string) error {
		if os.Geteuid() != 0 {
			return os.Chmod(path, 0o644)
		}
		return os.Chown(path, 65534, 65534)
	}
	for name, c := range map[string]struct {
		wreck func(*testing.T, tree)
		note  string
	}{
		"torn":           {each(func(path string) error { return os.Truncate(path, 100) }), "is cut short"},
		"a wide mode":    {each(func(path string) error { return os.Chmod(path, 0o644) }), "has the mode 0644"},
		"another's file": {each(nobody), "is not used"},
		"unreadable":     {each(func(path string) error { return os.Chmod(path, 0) }), "token cache: "},
		"a symlink":      {each(func(path string) error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }), "is a symbolic link"},
		"a named pipe":   {each(func(path string) error { return replaceBy(path, func() error { return syscall.Mkfifo(path, 0o600) }) }), "is a FIFO, not a file"},
		"a directory":    {each(func(path string) error { return replaceBy(path, func() error { return os.Mkdir(path, 0o700) }) }), "is a directory, not a file"},
		"wide directory": {func(t *testing.T, n tree) { os.Chmod(n.tokens(), 0o755) }, "has the mode 0755"},
		"no directory":   {func(t *testing.T, n tree) { os.RemoveAll(filepath.Dir(n.tokens())) }, ""},
		"a file for it": {func(t *testing.T, n tree) {
			replace(t, n.tokens(), func() error { return os.WriteFile(n.tokens(), nil, 0o700) })
		}, "is not a directory"},
		"a link for it": {func(t *testing.T, n tree) {
			replace(t, n.tokens(), func() error { return os.Symlink(t.TempDir(), n.tokens()) })
		}, "is not a directory"},
		"swapped": {func(t *testing.T, n tree) {
			each(func(path string) error { return os.Rename(path, path+"x") })(t, n)
			files, _ := filepath.Glob(n.tokens() + "/*x")
			for i, path := range files {
				os.Rename(path, strings.TrimSuffix(files[len(files)-1-i], "x"))
			}
		}, "of another registry or identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, acrs := startCloud(t, "foo.azurecr.io")
			n := plant(t, toFoo)
			args := []string{fromRoute, "--root=" + n.root}
			if got := run(t, cloud, names[0], request(mcrImage), args...); got.code != 0 {
				t.Fatal(got.stderr)
			}
			c.wreck(t, n)
			acrs["foo.azurecr.io"].Forget()
			got := run(t, cloud, names[0], request(mcrImage), args...)
			if got.code != 0 || got.answer() != mcrAnswer || !strings.Contains(got.stderr, c.note) || (c.note == "") != (got.stderr == "") {
				t.Errorf("it exits %d with %s%s; want the answer, and %q", got.code, got.answer(), got.stderr, c.note)
			}
			if at := audience(t, got.stdout, mcr); at != "foo.azurecr.io" {
				t.Errorf("the credential is that of %s", at)
			}
			if len(acrs["foo.azurecr.io"].Requests()) == 0 {
				t.Error("the broken cache is used")
			}
		})
	}
}

func replaceBy(path string, put func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return put()
}

// TestExecCache checks that an answer of another provider is kept as long and
// as far as it says.
func TestExecCache(t *testing.T) {
	const text = "version = 1\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"harbor.corp\"]\n[registry.\"harbor.corp\"]\ncredential = \"other\"\n" +
		"[credential.other]\nkind = \"exec\"\ncommand = \"/provider\"\n"
	for name, c := range map[string]struct {
		key, life, auth string
		runs            int // of the provider, for images a, a and b
	}{
		"for the registry": {"Registry", "5m0s", "harbor.corp", 1},
		"for all":          {"Global", "5m0s", "*.corp", 1},
		"for the image":    {"Image", "5m0s", "harbor.corp", 2},
		"for a path":       {"Registry", "5m0s", "harbor.corp/a", 2}, // and none for b
		"not to be kept":   {"Registry", "0s", "harbor.corp", 3},
	} {
		cloud, _ := startCloud(t)
		n := plant(t, text)
		script := "#!/bin/sh\nread -r line\necho run >>" + n.root + "/runs\ncat <<END\n" + head + `"` + c.key + `","cacheDuration":"` + c.life + `","auth":{"` + c.auth + `":{"username":"u","password":"p"}}}` + "\nEND\n"
		if err := os.WriteFile(filepath.Join(n.root, "provider"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, image := range []string{"quay.io/a", "quay.io/a", "quay.io/b"} {
			got := run(t, cloud, names[0], request(image), fromRoute, "--root="+n.root)
			if (got.code == 0) != (c.auth != "harbor.corp/a" || image == "quay.io/a") {
				t.Errorf("%s: %s exits %d with %s", name, image, got.code, got.stderr)
			}
		}
		if runs := bytes.Count(read(t, filepath.Join(n.root, "runs")), []byte("run")); runs != c.runs {
			t.Errorf("%s: the provider ran %d times; want %d", name, runs, c.runs)
		}
	}
}

// TestAbsolute checks that the cache and the log have whole paths.
func TestAbsolute(t *testing.T) {
	cloud, _ := startCloud(t)
	for _, flag := range []string{"--token-cache=x", "--audit-log=x", "--audit-log=unixgram:x", "--audit-log=unixgram:", "--audit-log=journal"} {
		// A root keeps the test from this machine's own log.
		got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+t.TempDir(), flag)
		if got.code != 1 || !strings.Contains(got.stderr, "is not an absolute path") {
			t.Errorf("%s exits %d with %s", flag, got.code, got.stderr)
		}
	}
}
