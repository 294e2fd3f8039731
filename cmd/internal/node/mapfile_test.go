package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newFleetNode returns a node without a map of its own.
func newFleetNode(t *testing.T) (*Node, *fake) {
	n, host := newNode(t, "")
	n.choice.isOpen = true
	if err := os.Remove(n.Map); err != nil {
		t.Fatal(err)
	}
	return n, host
}

// TestWhichMap follows the choice between the node's own map and the one from
// the cluster.
func TestWhichMap(t *testing.T) {
	n, host := newFleetNode(t)
	own, delivered := n.path(DefaultMap), n.path(DeliveredMap)
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no map: "+own) {
		t.Fatalf("without a map: %v", err)
	}
	want := func(when, target, file string, isDelivered bool) {
		t.Helper()
		p, err := n.Apply(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		wantRouted(t, n, "mcr.microsoft.com", target)
		if s := n.Source(); s.File != file || s.Delivered != isDelivered || s.Hash == "" {
			t.Errorf("%s: the source is %+v", when, s)
		}
		both := n.Source().Unused != ""
		if len(p.Notes) == 0 && (isDelivered || both) {
			t.Errorf("%s: apply does not say which map it is", when)
		}
		if !slices.Contains(n.Watched(), own) || !slices.Contains(n.Watched(), delivered) {
			t.Errorf("%s: %q is watched", when, n.Watched())
		}
	}
	write(t, delivered, oneMap)
	want("delivered", "contoso", delivered, true)
	write(t, delivered, otherMap)
	want("changed", "fabrikam", delivered, true)
	if err := os.Remove(delivered); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "the map from the cluster is gone: "+delivered) {
		t.Errorf("vanished: %v", err)
	}
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam")

	write(t, own, anonymousMap)
	write(t, delivered, oneMap)
	host.after(time.Hour)
	apply(t, n) // a retarget to a host without a credential drains first
	host.after(24 * time.Hour)
	want("an own map", "mirror.example", own, false)
	if n.Source().Unused != delivered {
		t.Errorf("the source is %+v", n.Source())
	}

	// A program that replaces the own map may remove it first.
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "the node's own map is gone: "+own) {
		t.Errorf("replaced: %v", err)
	}
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
	write(t, own, anonymousMap)
	want("replaced", "mirror.example", own, false)
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil {
		t.Error("removed: no error at first")
	}
	host.after(renaming)
	want("removed", "contoso", delivered, true)
}

// TestDeliveredMayNot has a map from the cluster name what the node does not
// allow it, and finds that by its place: --map and links do not matter.
func TestDeliveredMayNot(t *testing.T) {
	const shell = oneMap + "[registry.\"a.corp\"]\ncredential = \"x\"\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n"
	const allowed = "version = 1\n[registry.\"a.corp\"]\ncredential = \"x\"\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n"
	n, _ := newFleetNode(t)
	delivered := n.path(DeliveredMap)
	write(t, delivered, oneMap)
	apply(t, n)
	before := tree(t, n.path("/var/lib"), true)
	write(t, delivered, shell)
	refused := func(when string, n *Node, want string) {
		t.Helper()
		if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", when, err, want)
		}
		if _, err := n.ParseMap(); err == nil {
			t.Errorf("%s: it is shown", when)
		}
		after := tree(t, n.path("/var/lib"), true)
		for path, text := range before {
			if after[path] != text {
				t.Errorf("%s: %s changed", when, path)
			}
		}
	}
	const want = `mirrors.toml:9: command "/bin/sh" of [credential.x] is not allowed in a map from the cluster`
	refused("without a list", n, want)
	named := func(path string) *Node {
		other := &Node{Root: n.Root, Map: path, host: n.host}
		return other
	}
	refused("named by --map", named(delivered), want)
	link := filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(delivered, link); err != nil {
		t.Fatal(err)
	}
	refused("by a link", named(link), "this is a symbolic link")
	if err := os.Symlink(n.path(DeliveredDir), n.path("/srv")); err != nil {
		t.Fatal(err)
	}
	refused("by a linked directory", named(n.path("/srv/mirrors.toml")), want)

	list := n.path(AllowedFile)
	write(t, list, "version = 1\ncommands = [\"/bin/sh\"]\n")
	refused("with a bad list", n, "allowed.toml:2: unknown key \"commands\"")
	write(t, list, allowed)
	if err := os.Chmod(list, 0o666); err != nil {
		t.Fatal(err)
	}
	refused("with a list that others write", n, "allowed.toml: mode 0666, so users other than root can write it; run: chmod go-w")
	if err := os.Chmod(list, 0o644); err != nil {
		t.Fatal(err)
	}
	apply(t, n)
	if !slices.Contains(n.Watched(), list) {
		t.Errorf("%q is watched", n.Watched())
	}
	// An operator's own map needs no permission.
	if err := errors.Join(os.Remove(list), os.Rename(delivered, n.path(DefaultMap))); err != nil {
		t.Fatal(err)
	}
	n.choice.isOwn = true
	apply(t, n)
}

// TestDeliveredHostile puts other things in the place of the delivered map. None
// is read, none blocks, and what was applied stays.
func TestDeliveredHostile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "c4n4ry\n")
	for name, test := range map[string]struct {
		plant func(path string) error
		want  string
	}{
		"a link":      {func(path string) error { return os.Symlink(secret, path) }, "a symbolic link"},
		"a dead link": {func(path string) error { return os.Symlink("/no/such", path) }, "a symbolic link"},
		"a FIFO":      {func(path string) error { return unix.Mkfifo(path, 0o644) }, "a FIFO"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o755) }, "a directory"},
		"a huge file": {func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<30)) }, "larger than 1 MiB"},
		"no bytes":    {func(path string) error { return os.WriteFile(path, nil, 0o644) }, "version is missing"},
		"half a map":  {func(path string) error { return os.WriteFile(path, []byte(otherMap[:60]), 0o644) }, "mirrors.toml:"},
		"others write": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(otherMap), 0o644), os.Chmod(path, 0o666))
		}, "mode 0666"},
	} {
		for _, isRooted := range []bool{false, true} {
			n, host := newFleetNode(t)
			if isRooted {
				n = New(n.Root, "", false)
				n.host = host
			}
			write(t, n.path(DeliveredMap), oneMap)
			apply(t, n)
			if err := errors.Join(os.Remove(n.path(DeliveredMap)), test.plant(n.path(DeliveredMap))); err != nil {
				t.Fatal(err)
			}
			_, err := n.Apply(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("%s: %v; want %q", name, err, test.want)
			}
			wantRouted(t, n, "mcr.microsoft.com", "contoso")
		}
	}
}
