package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestTrust changes who may write the map, or put another in its place. It is
// refused with the command to run, and what was applied before stays.
func TestTrust(t *testing.T) {
	asRoot(t)
	const nobody = 65534
	for name, test := range map[string]struct {
		change func(n *Node) error
		want   string // "" for no fault; ROOT is the node's root
	}{
		"as it was":            {func(*Node) error { return nil }, ""},
		"open to all":          {func(n *Node) error { return os.Chmod(n.Map, 0o666) }, "ROOT/etc/mirrorcred/mirrors.toml: mode 0666, so users other than root can write it; run: chmod go-w ROOT/etc/mirrorcred/mirrors.toml"},
		"open to the group":    {func(n *Node) error { return os.Chmod(n.Map, 0o620) }, "run: chmod go-w ROOT/etc/mirrorcred/mirrors.toml"},
		"another's":            {func(n *Node) error { return os.Chown(n.Map, nobody, 0) }, "ROOT/etc/mirrorcred/mirrors.toml: it belongs to user 65534, who can change it; run: chown root ROOT/etc/mirrorcred/mirrors.toml"},
		"directory open":       {func(n *Node) error { return os.Chmod(n.path("/etc/mirrorcred"), 0o777) }, "run: chmod go-w ROOT/etc/mirrorcred"},
		"directory above open": {func(n *Node) error { return os.Chmod(n.path("/etc"), 0o775) }, "run: chmod go-w ROOT/etc"},
		"another's directory":  {func(n *Node) error { return os.Chown(n.path("/etc"), nobody, 0) }, "run: chown root ROOT/etc"},
		"the root open":        {func(n *Node) error { return os.Chmod(n.Root, 0o777) }, "run: chmod go-w ROOT"},
		"sticky": {func(n *Node) error {
			return os.Chmod(n.path("/etc/mirrorcred"), os.ModeSticky|0o777)
		}, ""},
		"another's in sticky": {func(n *Node) error {
			return errorsOf(os.Chmod(n.path("/etc/mirrorcred"), os.ModeSticky|0o777), os.Chown(n.Map, nobody, 0))
		}, "run: chown root ROOT/etc/mirrorcred/mirrors.toml"},
		"a link": {func(n *Node) error { return moved(n, "/srv/map/mirrors.toml") }, ""},
		"a link to an open directory": {func(n *Node) error {
			return errorsOf(moved(n, "/srv/map/mirrors.toml"), os.Chmod(n.path("/srv"), 0o777))
		}, "run: chmod go-w ROOT/srv"},
		"another's link": {func(n *Node) error {
			return errorsOf(moved(n, "/srv/map/mirrors.toml"), os.Lchown(n.Map, nobody, 0))
		}, "run: chown root ROOT/etc/mirrorcred/mirrors.toml"},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, oneMap)
			root := filepath.Join(t.TempDir(), "root")
			if err := os.Rename(n.Root, root); err != nil {
				t.Fatal(err)
			}
			n.Root, n.Map = root, filepath.Join(root, DefaultMap)
			// What is above the root does not matter.
			if err := os.Chmod(filepath.Dir(root), 0o777); err != nil {
				t.Fatal(err)
			}
			apply(t, n)
			before := tree(t, n.path("/var"), true)
			write(t, n.Map, otherMap)
			if err := test.change(n); err != nil {
				t.Fatal(err)
			}
			_, err := n.Apply(t.Context())
			want := strings.ReplaceAll(test.want, "ROOT", root)
			switch {
			case want == "" && err != nil, want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)):
				t.Errorf("apply: %v; want %q", err, want)
			case want != "":
				sameTree(t, tree(t, n.path("/var"), true), before)
				wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
			}
		})
	}
}

// asRoot skips a test that needs files of other users.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("files of other users need root")
	}
	t.Cleanup(func() { unix.Umask(unix.Umask(0o022)) })
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// moved puts the map elsewhere, with a link in its place.
func moved(n *Node, place string) error {
	return errorsOf(os.MkdirAll(filepath.Dir(n.path(place)), 0o755), os.Rename(n.Map, n.path(place)), os.Symlink(n.path(place), n.Map))
}

// TestTrustOfCertificates is TestTrust for a CA: its source alone is at fault.
func TestTrustOfCertificates(t *testing.T) {
	asRoot(t)
	n, _ := newNode(t, anonymousMap+"[registry.\"mirror.example\"]\nca = \"/etc/ssl/corp/ca.pem\"\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"other.example\"]\n")
	write(t, n.path("/etc/ssl/corp/ca.pem"), "")
	for path, fault := range map[string]func(string) error{
		"/etc/ssl/corp/ca.pem": func(path string) error { return os.Chmod(path, 0o666) },
		"/etc/ssl":             func(path string) error { return os.Chmod(path, 0o777) },
		"/etc/ssl/corp":        func(path string) error { return os.Chown(path, 65534, 0) },
	} {
		info, err := os.Stat(n.path(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := fault(n.path(path)); err != nil {
			t.Fatal(err)
		}
		todo := apply(t, n)
		if len(todo.Faults) == 0 || todo.Faults[0].Source != "mcr.microsoft.com" || !strings.Contains(todo.Faults[0].Reason, n.path(path)+": ") {
			t.Errorf("%s: the faults are %+v", path, todo.Faults)
		}
		wantRouted(t, n, "mcr.microsoft.com", "")
		wantRouted(t, n, "quay.io", "other.example")
		if err := errorsOf(os.Chmod(n.path(path), info.Mode()), os.Chown(n.path(path), 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSecretsOwner has the files that hold secrets be another user's, who can
// read and change them whatever their mode. One that the manager reads is a fault,
// and what was applied before stays; of one that the plugin reads, and refuses, it
// warns.
func TestSecretsOwner(t *testing.T) {
	asRoot(t)
	const header = "/etc/mirrorcred/harbor.header"
	n, host := newNode(t, emptyMap)
	in(oneMap)(t, n, host)
	write(t, n.Map, secretMap)
	if err := os.Chown(n.path(header), 65534, 0); err != nil {
		t.Fatal(err)
	}
	want := n.path(header) + ": it holds a secret and belongs to user 65534; run: chown root " + n.path(header)
	if todo, err := n.Apply(t.Context()); err != nil || len(todo.Faults) != 2 || !strings.HasSuffix(todo.Faults[0].Reason, want) {
		t.Errorf("Apply: %v, %v; want %q", todo.Faults, err, want)
	}
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	if err := os.Chown(n.path(header), 0, 0); err != nil {
		t.Fatal(err)
	}

	const docker = "/etc/mirrorcred/harbor.json"
	write(t, n.path(docker), `{"auths": {"harbor.corp:8443": {"auth": "dTpw"}}}`)
	write(t, n.path(mirror.DefaultAzureConfig), `{"useManagedIdentityExtension": true}`)
	both := secretMap + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io\"]\n"
	for _, path := range []string{docker, mirror.DefaultAzureConfig} {
		if err := os.Chmod(n.path(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantOwned := func(want ...string) {
		t.Helper()
		var got []string
		for _, w := range applyMap(t, n, both).Warnings {
			if strings.Contains(w.Text, "belongs to user 65534, so the plugin does not use it") && w.Repair == "run: chown root "+w.Where {
				got = append(got, strings.TrimPrefix(w.Where, n.Root))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("warned of the owner of %q; want %q", got, want)
		}
	}
	wantOwned()
	if err := errorsOf(os.Chown(n.path(docker), 65534, 0), os.Chown(n.path(mirror.DefaultAzureConfig), 65534, 0)); err != nil {
		t.Fatal(err)
	}
	wantOwned(mirror.DefaultAzureConfig, docker)
}

// TestStrangersSecrets has another program give files with secrets to another user,
// as "chown -R" does: they are written anew, and are root's.
func TestStrangersSecrets(t *testing.T) {
	asRoot(t)
	n, host := newNode(t, emptyMap)
	in(secretMap)(t, n, host)
	for _, path := range []string{"/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml", plan.RoutesDir + "/mcr.microsoft.com.json"} {
		if err := os.Chown(n.path(path), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if todo := apply(t, n); len(todo.Changes) != 1 || todo.Changes[0].Path != path {
			t.Errorf("%s: the changes are %v; want that one", path, todo.Changes)
		}
		info, err := os.Stat(n.path(path))
		if err != nil {
			t.Fatal(err)
		}
		if uid, is := input.Stranger(info); is || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v and belongs to user %d", path, info.Mode(), uid)
		}
	}
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %v", todo.Changes)
	}
	for _, path := range []string{record, stateFile} {
		if err := errorsOf(os.Chmod(n.path(path), 0o644), os.Chown(n.path(path), 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		apply(t, n)
		info, err := os.Stat(n.path(path))
		if err != nil || !isClosed(info) {
			t.Errorf("%s: %v, %v; want it closed", path, info, err)
		}
	}
}

// TestTrustReadOnly has the directory of the map open to all, as in the volume of
// a ConfigMap: that is not a fault if it is mounted read-only, because then no one
// can put another file there.
func TestTrustReadOnly(t *testing.T) {
	for name, test := range map[string]struct{ mount, fault string }{
		"mounted read-only":          {"mount -o remount,bind,ro /etc/mirrorcred", ""},
		"mounted for writing":        {":", "/etc/mirrorcred: mode 0777, so users other than root can replace files below it; run: chmod go-w /etc/mirrorcred"},
		"read-only, the map is open": {"chmod 666 /etc/mirrorcred/mirrors.toml; mount -o remount,bind,ro /etc/mirrorcred", "/etc/mirrorcred/mirrors.toml: mode 0666"},
	} {
		t.Run(name, func(t *testing.T) {
			setup := strangerSetup("[kubelet]\nrunning = false\n") + "chmod 777 /etc/mirrorcred\n" + test.mount + "\n"
			out := machinetest.Machine{Init: "systemd", Hide: ownDirs, Setup: setup}.Run(t, "apply")
			var got outcome
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if (got.Fault == "") != (test.fault == "") || !strings.Contains(got.Fault, test.fault) || (len(got.Hosts) > 0) != (test.fault == "") {
				t.Errorf("fault %q and hosts.toml for %q; want %q", got.Fault, got.Hosts, test.fault)
			}
		})
	}
}

// TestModes has a map with secrets applied over what an earlier version left
// open: what holds something of it is closed, and what else is mirrorcred's alone.
func TestModes(t *testing.T) {
	const text = `version = 1
[[mirror]]
source = "quay.io"
targets = ["registry.corp"]
[[mirror]]
source = "docker.io"
targets = ["mirror.example"]
header = { X-Vault-Token = "c4n4ry" }
[[mirror]]
source = "gcr.io"
targets = ["other.example"]
header = { X-Forwarded-For = "gcr.io" }
[registry."registry.corp"]
credential = "ecr"
[credential.ecr]
kind = "exec"
command = "/usr/bin/ecr"
env = { REGION = "c4n4ry" }
args = ["c4n4ry"]
`
	n, _ := newNode(t, text)
	write(t, n.path(kubeletFile), "")
	if err := os.Chmod(n.Map, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, n.path(lockFile), "")
	apply(t, n)
	want := map[string]os.FileMode{
		lockFile: 0o600, stateFile: 0o600, previousFile: 0o600,
		plan.RoutesDir + "/quay.io.json": 0o600, plan.RoutesDir + "/docker.io.json": 0o600, plan.RoutesDir + "/gcr.io.json": 0o644,
		"/etc/containerd/certs.d/docker.io/hosts.toml": 0o600, "/etc/containerd/certs.d/docker.io": 0o700,
		"/etc/containerd/certs.d/gcr.io/hosts.toml": 0o644, "/etc/containerd/certs.d/gcr.io": 0o755,
	}
	check := func(when string) {
		t.Helper()
		for path, mode := range want {
			info, err := os.Stat(n.path(path))
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %s has %v, %v; want mode %04o", when, path, info.Mode(), err, mode)
			}
		}
		for path, text := range tree(t, n.Root, true) {
			// A file's mode is the first word of its text.
			if strings.Contains(text, "c4n4ry") && !strings.HasPrefix(text, "-rw-------") {
				t.Errorf("%s: %s has a secret and is open: %.40q", when, path, text)
			}
		}
	}
	check("new")
	for path := range want {
		if path == previousFile {
			continue
		}
		mode := os.FileMode(0o644)
		if filepath.Base(path) == "docker.io" || filepath.Base(path) == "gcr.io" {
			mode = 0o755
		}
		if err := os.Chmod(n.path(path), mode); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, n)
	check("after an earlier version")
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %v", todo.Changes)
	}
}

// TestTrustBelowRoot has links below another root, which lead to places below it
// and not to the machine's own.
func TestTrustBelowRoot(t *testing.T) {
	asRoot(t)
	made, _ := newNode(t, anonymousMap)
	n := New(made.Root, "", false)
	if err := errorsOf(os.MkdirAll(n.path("/srv/map"), 0o755), os.Rename(n.Map, n.path("/srv/map/mirrors.toml")), os.Symlink("/srv/map/mirrors.toml", n.Map)); err != nil {
		t.Fatal(err)
	}
	apply(t, n)
	if err := os.Chmod(n.path("/srv"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "run: chmod go-w "+n.path("/srv")) {
		t.Errorf("apply: %v; want a fault of /srv", err)
	}
	if err := errorsOf(os.Remove(n.Map), os.Symlink("../../../../../srv/map/mirrors.toml", n.Map)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "run: chmod go-w "+n.path("/srv")) {
		t.Errorf("apply by a link with too many dots: %v; want a fault of /srv", err)
	}
}
