//go:build linux

package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plugin"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestNoLeak holds the first promise, one broken thing at a time: no
// credential but under the very hosts.toml that was rendered, and nothing
// fetched for nothing.
func TestNoLeak(t *testing.T) {
	const harbor, harborImage = "harbor.corp_5000_", "harbor.corp:5000/a/b"
	tests := map[string]struct {
		text  string // the map
		image string
		wreck func(*testing.T, tree)
		want  string // a part of the error; "" if mirrorcred is not involved
	}{
		"no namespace":  {toFoo, mcrImage, func(t *testing.T, n tree) { os.RemoveAll(filepath.Dir(n.hosts(mcr))) }, "does not exist"},
		"no certs.d":    {toFoo, mcrImage, func(t *testing.T, n tree) { os.RemoveAll(filepath.Join(n.root, "etc/containerd")) }, "does not exist"},
		"no hosts.toml": {toFoo, mcrImage, func(t *testing.T, n tree) { os.Remove(n.hosts(mcr)) }, "does not exist or is empty"},
		"empty":         {toFoo, mcrImage, func(t *testing.T, n tree) { os.Truncate(n.hosts(mcr), 0) }, "does not exist or is empty"},
		"edited":        {toFoo, mcrImage, func(t *testing.T, n tree) { appendTo(t, n.hosts(mcr), "# mine\n") }, "is not as mirrorcred wrote it"},
		"one newline":   {toFoo, mcrImage, func(t *testing.T, n tree) { appendTo(t, n.hosts(mcr), "\n") }, "is not as mirrorcred wrote it"},
		"other version": {toFoo, mcrImage, func(t *testing.T, n tree) { n.writeHosts(t, toBar) }, "is not as mirrorcred wrote it"},
		"two versions":  {toFoo, mcrImage, func(t *testing.T, n tree) { appendTo(t, n.hosts(mcr), string(read(t, n.hosts(mcr)))) }, "is not as mirrorcred wrote it"},
		"directory": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return os.Mkdir(n.hosts(mcr), 0o755) })
		}, "hosts.toml: this is a directory, not a file"},
		"named pipe": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return syscall.Mkfifo(n.hosts(mcr), 0o644) })
		}, "hosts.toml: this is a FIFO, not a file"},
		"device": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return syscall.Mknod(n.hosts(mcr), syscall.S_IFCHR|0o644, 1<<8|5) }) // as /dev/zero
		}, "hosts.toml: this is a device, not a file"},
		"dangling link": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return os.Symlink("nonesuch", n.hosts(mcr)) })
		}, "does not exist or is empty"},
		"looping link": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return os.Symlink("hosts.toml", n.hosts(mcr)) })
		}, "too many levels of symbolic links"},
		"dangling above": {toFoo, mcrImage, func(t *testing.T, n tree) { replaceNamespace(t, n, "nonesuch") }, "does not exist"},
		"looping above":  {toFoo, mcrImage, func(t *testing.T, n tree) { replaceNamespace(t, n, mcr) }, "too many levels of symbolic links"},
		"file above": {toFoo, mcrImage, func(t *testing.T, n tree) {
			dir := filepath.Dir(n.hosts(mcr))
			replace(t, dir, func() error { return os.WriteFile(dir, nil, 0o644) })
		}, "not a directory"},

		"shadowed": {ofPort, harborImage, func(t *testing.T, n tree) {
			os.Rename(filepath.Dir(n.hosts(harbor)), filepath.Dir(n.hosts("harbor.corp:5000")))
		}, "harbor.corp:5000/hosts.toml is mirrorcred's, but its route is missing"},
		"shadowed by another's": {ofPort, harborImage, func(t *testing.T, n tree) {
			os.Rename(filepath.Dir(n.hosts(harbor)), filepath.Dir(n.hosts("harbor.corp:5000")))
			appendTo(t, n.hosts("harbor.corp:5000"), "\n")
		}, "containerd reads /etc/containerd/certs.d/harbor.corp:5000 instead"},
		"shadowed by default":   {toFoo, mcrImage, func(t *testing.T, n tree) { os.Rename(filepath.Dir(n.hosts(mcr)), filepath.Dir(n.hosts("_default"))) }, "its route is missing"},
		"the shadow of its own": {ofAny, "quay.io/x", func(t *testing.T, n tree) { os.Mkdir(filepath.Dir(n.hosts("quay.io")), 0o755) }, ""},
		"a copy for another":    {toFoo, "quay.io/x", func(t *testing.T, n tree) { copyFile(t, n.hosts(mcr), n.hosts("quay.io")) }, "its route is missing"},
		"both for another": {toFoo, "quay.io/x", func(t *testing.T, n tree) {
			copyFile(t, n.hosts(mcr), n.hosts("quay.io"))
			copyFile(t, n.route(mcr), n.route("quay.io"))
		}, `is that of the source "mcr.microsoft.com"`},
		"target elsewhere": {noMirror, "foo.azurecr.io/x", func(t *testing.T, n tree) {
			writeFile(t, n.root, mirror.DefaultHostsDir+"/foo.azurecr.io/hosts.toml", "server = \"https://evil.example\"\n")
		}, `sends "foo.azurecr.io" elsewhere`},
		"all elsewhere": {noMirror, "foo.azurecr.io/x", func(t *testing.T, n tree) {
			writeFile(t, n.root, mirror.DefaultHostsDir+"/_default/hosts.toml", "server = \"https://evil.example\"\n")
		}, `sends "foo.azurecr.io" elsewhere`},

		"no routes":      {toFoo, mcrImage, func(t *testing.T, n tree) { os.RemoveAll(filepath.Join(n.root, routesDir)) }, "there are no routes in "},
		"no route of it": {toFoo, mcrImage, func(t *testing.T, n tree) { os.Remove(n.route(mcr)) }, "its route is missing"},
		"empty route":    {toFoo, mcrImage, func(t *testing.T, n tree) { os.Truncate(n.route(mcr), 0) }, "it is cut short or was changed"},
		"route of zeros": {toFoo, mcrImage, func(t *testing.T, n tree) { os.Truncate(n.route(mcr), 1<<10) }, "it is cut short or was changed"},
		"huge route":     {toFoo, mcrImage, func(t *testing.T, n tree) { os.Truncate(n.route(mcr), 1<<40) }, ".json: this file is larger than 1 MiB"},
		"route directory": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.route(mcr), func() error { return os.Mkdir(n.route(mcr), 0o755) })
		}, ".json: this is a directory, not a file"},
		"looping route": {toFoo, mcrImage, func(t *testing.T, n tree) {
			replace(t, n.route(mcr), func() error { return os.Symlink(mcr+".json", n.route(mcr)) })
		}, "too many levels of symbolic links"},
		"pruned": {toFoo, mcrImage, func(t *testing.T, n tree) {
			copyFile(t, plant(t, toBar).route(mcr), n.route(mcr))
		}, "is not as mirrorcred wrote it"},
		"withdrawn": {toFoo, mcrImage, func(t *testing.T, n tree) {
			r, err := route.Decode(read(t, n.route(mcr)))
			if err != nil {
				t.Fatal(err)
			}
			r.Withdrawn = "its mirror was removed from the map"
			n.writeRoute(t, mcr, r)
		}, "its mirror was removed from the map"},
		"unknown kind": {toFoo, mcrImage, func(t *testing.T, n tree) {
			r, _ := route.Decode(read(t, n.route(mcr)))
			r.Generations[0].Targets[0].Credentials[0].Kind = "new"
			n.writeRoute(t, mcr, r)
		}, `is of kind "new"`},
		"no azure.json": {toFoo, mcrImage, func(t *testing.T, n tree) { os.Remove(filepath.Join(n.root, mirror.DefaultAzureConfig)) }, "azure.json does not exist; create it"},
		"relative":      {toFoo, mcrImage, nil, "is not an absolute path"},
	}
	cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "device" && os.Getuid() != 0 {
				t.Skip("devices need root")
			}
			n := plant(t, c.text)
			flag := fromRoute
			if c.wreck != nil {
				c.wreck(t, n)
			} else {
				flag = strings.Replace(flag, "@/", "@", 1)
			}
			got := run(t, cloud, names[0], request(c.image), flag, "--root="+n.root)
			if c.want == "" {
				if got.code != 0 || got.answer() != noAnswer {
					t.Errorf("it exits %d with %s%s; want no credential", got.code, got.answer(), got.stderr)
				}
			} else if got.code != 1 || !strings.Contains(got.stderr, c.want) {
				t.Errorf("it exits %d with %s%s; want an error with %s", got.code, got.answer(), got.stderr, c.want)
			}
		})
	}
	t.Cleanup(func() { checkUnasked(t, cloud, acrs["foo.azurecr.io"], acrs["bar.azurecr.io"]) })
}

// checkUnasked checks that no host was asked for anything.
func checkUnasked(t *testing.T, cloud *azuretest.Cloud, acrs ...*azuretest.ACR) {
	t.Helper()
	n := len(cloud.Identity.Requests()) + len(cloud.Entra.Requests()) + len(cloud.Proxy.Requests())
	for _, acr := range acrs {
		n += len(acr.Requests())
	}
	if n > 0 {
		t.Errorf("%d requests were made for credentials that are not answered", n)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, append(read(t, path), text...), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	writeFile(t, filepath.Dir(to), filepath.Base(to), string(read(t, from)))
}

// replaceNamespace puts a link in the place of the source's directory.
func replaceNamespace(t *testing.T, n tree, to string) {
	t.Helper()
	dir := filepath.Dir(n.hosts(mcr))
	replace(t, dir, func() error { return os.Symlink(to, dir) })
}

// TestNoLeakUnreadable runs as a user who may not read a file.
func TestNoLeakUnreadable(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io")
	ask := func(cloud *azuretest.Cloud, n tree) result {
		if err := os.Chmod(filepath.Dir(n.root), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, cloud, names[0], fromRoute, "--root="+n.root, "--token-cache=", "--audit-log=")
		if os.Geteuid() == 0 {
			const nobody = 65534 // root may read everything
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		return finish(t, cmd, request(mcrImage))
	}
	// As it is, the registry is asked, whose CA that user cannot read.
	other, _ := startCloud(t, "foo.azurecr.io")
	if got := ask(other, plant(t, toFoo)); got.code != 0 && !strings.Contains(got.stderr, "its certificate is not trusted") {
		t.Errorf("readable: it exits %d with %s%s", got.code, got.answer(), got.stderr)
	}
	for _, path := range []func(tree) string{
		func(n tree) string { return n.hosts(mcr) },
		func(n tree) string { return filepath.Dir(n.hosts(mcr)) },
		func(n tree) string { return filepath.Join(n.root, mirror.DefaultHostsDir) },
		func(n tree) string { return n.route(mcr) },
	} {
		n := plant(t, toFoo)
		if err := os.Chmod(path(n), 0); err != nil {
			t.Fatal(err)
		}
		got := ask(cloud, n)
		if got.code != 1 || !strings.Contains(got.stderr, " "+path(n)) || !strings.Contains(got.stderr, ": permission denied") {
			t.Errorf("%s unreadable: it exits %d with %s%s", path(n), got.code, got.answer(), got.stderr)
		}
		os.Chmod(path(n), 0o700) // for the removal of the tree
	}
	checkUnasked(t, cloud, acrs["foo.azurecr.io"])
}

// TestNoLeakEveryByte cuts hosts.toml and the route short at every byte, and
// changes every bit of them. The runs are in this process, for there are
// thousands; some are repeated by the real program.
func TestNoLeakEveryByte(t *testing.T) {
	foo, err := shared.AddACR("foo.azurecr.io", azuretest.ACROptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := plant(t, toFoo)
	args := []string{fromRoute, "--root=" + n.root}
	answer := func() (stdout, stderr string, code int) {
		var out, errs bytes.Buffer
		code = plugin.Run(t.Context(), append([]string{names[0]}, args...), strings.NewReader(request(mcrImage)), &out, &errs, func(int) {
			t.Error("it hangs")
		})
		return tokenText.ReplaceAllString(out.String(), "<$1>"), errs.String(), code
	}
	whole := func(what string) {
		t.Helper()
		if got, said, code := answer(); got != mcrAnswer || said != "" || code != 0 {
			t.Fatalf("the %s tree is answered %s, %s and exit code %d", what, got, said, code)
		}
	}
	whole("planted")
	foo.Forget()
	shared.Identity.Forget()
	shared.Proxy.Forget()
	refused := func(path string, data []byte, what string, i int) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, said, code := answer()
		if line, more, ended := strings.Cut(said, "\n"); got != "" || code != 1 || !ended || more != "" || line == "" || strings.Contains(line, "\r") {
			t.Errorf("%s %s at %d: %s, %q, exit code %d; want one line that refuses it", filepath.Base(path), what, i, got, said, code)
		}
		if i%97 == 0 {
			if r := run(t, shared, names[0], request(mcrImage), args...); r.code != 1 {
				t.Errorf("%s %s at %d: the program answers %s", filepath.Base(path), what, i, r.answer())
			}
		}
	}
	for _, path := range []string{n.hosts(mcr), n.route(mcr)} {
		data := read(t, path)
		for i := range data {
			refused(path, data[:i], "cut short", i)
			for bit := range 8 {
				flipped := bytes.Clone(data)
				flipped[i] ^= 1 << bit
				refused(path, flipped, "changed", i)
			}
			refused(path, append(bytes.Clone(data[:i+1]), data[i:]...), "with a byte doubled", i)
			refused(path, append(bytes.Clone(data[:i]), data[i+1:]...), "without a byte", i)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	checkUnasked(t, shared, foo)
	whole("repaired")
}
