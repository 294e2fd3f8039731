package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// TestNodes applies each map of docs/nodes.md on a node that is laid out as the map
// says. What is written is where the service may write: by its own unit, or by the
// drop-in that the page shows below the map.
func TestNodes(t *testing.T) {
	list := blocks(readDocument(t, "docs/nodes.md"))
	found := 0
	for i, b := range list {
		if b.language != "toml" {
			continue
		}
		found++
		dropIn := ""
		if i+1 < len(list) && list[i+1].language == "ini" {
			dropIn = list[i+1].text
		}
		m, err := mirror.Parse("nodes.md", []byte(b.text))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(m.Kubelet.Config, func(t *testing.T) {
			n := newReader(t)
			n.layOut(m)
			n.write(b.file(), b.text)
			before := n.tree()
			if out, code := n.run("mirrorcred apply"); code != 0 || !strings.HasSuffix(out, "in sync: "+count(len(m.Mirrors), "source")+"\n") {
				t.Fatalf("apply exits with %d: %s", code, out)
			}
			writable := append(writablePaths(t), readWritePaths(dropIn)...)
			for _, name := range n.tree() {
				if !slices.Contains(before, name) && !slices.ContainsFunc(writable, func(dir string) bool { return strings.HasPrefix(name, dir+"/") }) {
					t.Errorf("%s is written, and the service may write below %q only", name, writable)
				}
			}
			n.read(filepath.Join(m.Containerd.HostsDir, m.Mirrors[0].Source.String(), "hosts.toml"))
		})
	}
	if found < 3 {
		t.Errorf("found %d maps", found)
	}
}

// layOut makes what a map's node has: a containerd that reads hosts_dir, and the
// plugin and the kubelet's configuration where the map looks for them.
func (n *reader) layOut(m *mirror.Map) {
	n.t.Helper()
	n.write(m.Containerd.Config, "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \""+m.Containerd.HostsDir+"\"\n")
	n.write(filepath.Join(m.Kubelet.BinDir, "mirror-credential-provider"), "#!/bin/sh\n")
	for _, c := range m.Credentials {
		if c.Command != "" {
			n.write(c.Command, "#!/bin/sh\n")
		}
	}
	if filepath.Ext(m.Kubelet.Config) == "" {
		// A directory, as another program fills it.
		n.write(filepath.Join(m.Kubelet.Config, "config.json"), `{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[`+
			`{"name":"ecr-credential-provider","matchImages":["*.dkr.ecr.*.amazonaws.com"],"defaultCacheDuration":"12h","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}]}`)
	}
}

// writablePaths returns the directories below which mirrorcred.service may write.
func writablePaths(t *testing.T) []string {
	t.Helper()
	units, err := systemd.Units("")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if u.Name == systemd.WatchUnit {
			return append(readWritePaths(string(u.Data)), "/var/lib/mirrorcred", "/run/mirrorcred", "/var/log/mirrorcred")
		}
	}
	t.Fatal("there is no unit")
	return nil
}

// readWritePaths returns the paths of a unit's ReadWritePaths.
func readWritePaths(unit string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^ReadWritePaths=(.*)$`).FindAllStringSubmatch(unit, -1) {
		for _, path := range strings.Fields(m[1]) {
			list = append(list, strings.TrimPrefix(path, "-"))
		}
	}
	return list
}
