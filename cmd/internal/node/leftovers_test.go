package node

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestLeftovers checks that the files of a killed run are removed, and that others with
// such a name are not, and do not disturb the next run.
func TestLeftovers(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	generated := hostsOf(t, n, "mcr.microsoft.com")
	kubelet, err := os.ReadFile(n.path(kubeletFile))
	if err != nil {
		t.Fatal(err)
	}
	const certs, config, bin, units = "/etc/containerd/certs.d/", "/var/lib/kubelet/", "/var/lib/kubelet/credential-provider/", "/etc/systemd/system/"
	unit := []byte("# mirrorcred's\n[Unit]\nDescription=x\n")
	link := func(to string) func(string) error { return func(name string) error { return os.Symlink(to, name) } }
	pipe := func(name string) error { return syscall.Mkfifo(name, 0o600) }
	dir := func(name string) error { return os.Mkdir(name, 0o755) }
	for name, one := range map[string]struct {
		text string
		make func(name string) error
		ours bool
	}{
		certs + ".mirrorcred-1":                                 {text: generated[:40], ours: true},
		certs + ".mirrorcred-2/hosts.toml":                      {text: generated, ours: true},
		certs + ".mirrorcred-3":                                 {make: dir, ours: true},
		certs + ".mirrorcred-4":                                 {text: "", ours: true},
		certs + ".mirrorcred-12/hosts.toml":                     {text: generated[:len(generated)-9], ours: true},
		certs + ".mirrorcred-backup/hosts.toml":                 {text: generated},
		certs + ".mirrorcred-":                                  {text: generated},
		certs + ".mirrorcred-1x":                                {text: generated},
		certs + ".mirrorcred-5/ca.crt":                          {text: "certificate"},
		certs + ".mirrorcred-6":                                 {text: "notes\n"},
		certs + ".mirrorcred-7":                                 {make: link("/etc/hostname")},
		certs + ".mirrorcred-8/sub/hosts.toml":                  {text: generated},
		certs + ".mirrorcred-9/hosts.toml":                      {text: "server = \"https://theirs.example\"\n"},
		certs + ".mirrorcred-11":                                {make: pipe},
		config + ".mirrorcred-1":                                {text: string(kubelet), ours: true},
		config + ".mirrorcred-2":                                {text: string(kubelet[:30]), ours: true},
		config + ".mirrorcred-3":                                {text: "{\"theirs\": 1}\n"},
		bin + ".mirrorcred-1":                                   {make: link(plan.PluginName), ours: true},
		bin + ".mirrorcred-2":                                   {make: link("other-provider")},
		bin + ".mirrorcred-3":                                   {text: "#!/bin/sh\n"},
		plan.StateDir + "/.mirrorcred-1/mcr.microsoft.com.json": {text: "{\"sour", ours: true},
		plan.StateDir + "/.mirrorcred-2":                        {text: "{\n  \"dra", ours: true},
		plan.RoutesDir + "/.mirrorcred-3":                       {text: "{", ours: true},
		plan.StateDir + "/adopted/.mirrorcred-1/hosts.toml":     {text: "server = \"https://adopted.example\"\n", ours: true},
		units + ".mirrorcred-1":                                 {text: string(unit[:20]), ours: true},
		units + ".mirrorcred-2":                                 {text: "[Unit]\nDescription=theirs\n"},
	} {
		path := n.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if one.make == nil {
			write(t, path, one.text)
		} else if err := one.make(path); err != nil {
			t.Fatal(err)
		}
		if err := n.Install("/etc/systemd/system/x.service", unit, 0o644); err != nil {
			t.Fatal(err)
		}
		applyMap(t, n, otherMap)
		applyMap(t, n, oneMap)
		_, err := os.Lstat(path)
		if gone := err != nil; gone != one.ours {
			t.Errorf("%s is gone: %v; want %v", name, gone, one.ours)
		}
		if one.make == nil && !one.ours {
			if data, _ := os.ReadFile(path); string(data) != one.text {
				t.Errorf("%s holds %q; want %q", name, data, one.text)
			}
		}
		if got := hostsOf(t, n, "mcr.microsoft.com"); got != generated {
			t.Fatalf("beside %s hosts.toml is %q", name, got)
		}
		os.RemoveAll(path)
		if parent := filepath.Dir(path); IsTemporary(filepath.Base(parent)) {
			os.RemoveAll(parent)
		} else if IsTemporary(filepath.Base(filepath.Dir(parent))) {
			os.RemoveAll(filepath.Dir(parent))
		}
	}
}
