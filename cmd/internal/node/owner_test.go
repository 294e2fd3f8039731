package node

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestOwnerKept has the kubelet's configuration belong to another user and group, and
// be a link: what it leads to keeps its mode, owner and group when it is changed and
// when it is put back.
func TestOwnerKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	for _, want := range []owner{{0, 1000}, {1000, 0}, {0, 0}} {
		n, host := newNode(t, oneMap)
		apply(t, n)
		host.startKubelet(theFlags...)
		config := n.path("/var/lib/kubelet/credential-provider-config.yaml")
		file := n.path("/var/lib/kubelet/real.yaml")
		if err := errors.Join(os.Rename(config, file), os.Symlink("real.yaml", config), os.Chown(file, want.uid, want.gid), os.Chmod(file, 0o640)); err != nil {
			t.Fatal(err)
		}
		expect := func(what string) {
			t.Helper()
			info, err := os.Lstat(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := ownerIn(info); *got != want || info.Mode() != 0o640 {
				t.Errorf("%s, the kubelet's configuration belongs to %d:%d with mode %v; want %d:%d with 0640", what, got.uid, got.gid, info.Mode(), want.uid, want.gid)
			}
		}
		applyMap(t, n, oneMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
		if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), "quay.io") {
			t.Fatalf("the kubelet's configuration is %s, %v; want one with quay.io", data, err)
		}
		expect("changed")
		if err := n.RestoreKubelet(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect("put back")
	}
}

// TestOwnerRefused has the kernel refuse the owner: the old configuration stays, and
// the error says what to do.
func TestOwnerRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	config := n.path("/var/lib/kubelet/credential-provider-config.yaml")
	if err := os.Chown(config, 0, 1000); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	n.disk.step = func(op string, paths ...string) error {
		if op == "chown" {
			return &fs.PathError{Op: op, Path: paths[0], Err: syscall.EPERM}
		}
		return nil
	}
	write(t, n.Map, oneMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "chown") {
		t.Errorf("Apply: %v; want an error about the owner", err)
	}
	if after, err := os.ReadFile(config); err != nil || string(after) != string(before) {
		t.Errorf("the kubelet's configuration is %s, %v; want the old one", after, err)
	}
}
