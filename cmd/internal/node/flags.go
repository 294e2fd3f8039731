package node

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The files that may hold the kubelet's flags: its unit and drop-ins, the
// environment files of the common layouts, and the configurations of programs
// with a kubelet in them.
var flagFiles = []string{
	"/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/*.conf",
	"/run/systemd/system/kubelet.service", "/run/systemd/system/kubelet.service.d/*.conf",
	"/usr/local/lib/systemd/system/kubelet.service", "/usr/local/lib/systemd/system/kubelet.service.d/*.conf",
	"/usr/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service.d/*.conf",
	"/lib/systemd/system/kubelet.service", "/lib/systemd/system/kubelet.service.d/*.conf",
	"/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/lib/kubelet/kubeadm-flags.env",
	"/etc/kubernetes/kubelet.env", "/etc/eks/kubelet/environment",
	"/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/config.yaml.d/*.yaml",
	"/etc/rancher/rke2/config.yaml", "/etc/rancher/rke2/config.yaml.d/*.yaml",
	"/var/snap/microk8s/current/args/kubelet",
}

// What k3s and RKE2 give their kubelet by themselves when both are there.
const (
	rancherConfig = "/var/lib/rancher/credentialprovider/config.yaml"
	rancherBinDir = "/var/lib/rancher/credentialprovider/bin"
)

// flags reads the files below another root that start the kubelet; on a machine
// the running kubelet is asked. It is nil if the kubelet needs no flags.
func (n *Node) flags(want mirror.Kubelet, wants []plan.Entry) *doctor.Flags {
	needed := slices.ContainsFunc(wants, func(e plan.Entry) bool { return !slices.Equal(e.Match, []string{plan.NoImage}) })
	if !n.elsewhere || !needed || want.Config == rancherConfig && want.BinDir == rancherBinDir {
		return nil
	}
	f := &doctor.Flags{Root: n.Root}
	n.readFlags(f)
	return f
}

// readFlags adds to f what the files say that may hold the kubelet's flags.
func (n *Node) readFlags(f *doctor.Flags) {
	pending, seen := slices.Clone(flagFiles), map[string]bool{}
	for len(pending) > 0 {
		pattern := pending[0]
		pending = pending[1:]
		if seen[pattern] {
			continue
		}
		seen[pattern] = true
		names, err := n.tree.Glob(n.watch(pattern))
		if err != nil {
			continue // the name of an environment file
		}
		for _, name := range names {
			data, err := n.tree.ReadFile(name, 0)
			if err != nil {
				continue
			}
			if f.Unit == "" && strings.HasSuffix(name, "/kubelet.service") {
				f.Unit = name
			}
			addInTree(f, name, string(data))
			pending = append(pending, addFlags(f, string(data))...)
		}
	}
}

// flagValue matches one of the flags and its value in any format: with a blank
// or "=" between them, with "_" for "-", in quotes.
var flagValue = regexp.MustCompile(`image[-_]credential[-_]provider[-_](config|bin[-_]dir)["']?[=\s]\s*["']?([^\s"',\\]+)`)

var environmentFile = regexp.MustCompile(`(?m)^\s*EnvironmentFile\s*=\s*-?(/[^\s%]+)\s*$`)

// inTree matches the flag of the ACR provider that was part of the kubelet.
var inTree = regexp.MustCompile(`^[^#;]*azure[-_]container[-_]registry[-_]config`)

// addInTree adds the lines of a file with that flag.
func addInTree(f *doctor.Flags, name, text string) {
	number := 0
	for line := range strings.Lines(text) {
		if number++; inTree.MatchString(line) {
			f.InTree = append(f.InTree, fmt.Sprintf("%s:%d", name, number))
		}
	}
}

// addFlags adds the flags in a file, and returns the environment files that it
// names. Comments do not count.
func addFlags(f *doctor.Flags, text string) []string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if begin := strings.TrimSpace(line); !strings.HasPrefix(begin, "#") && !strings.HasPrefix(begin, ";") {
			kept.WriteString(line)
		}
	}
	for _, m := range flagValue.FindAllStringSubmatch(kept.String(), -1) {
		if value := path.Clean(m[2]); m[1] == "config" {
			f.Configs = append(f.Configs, value)
		} else {
			f.BinDirs = append(f.BinDirs, value)
		}
	}
	var files []string
	for _, m := range environmentFile.FindAllStringSubmatch(kept.String(), -1) {
		files = append(files, m[1])
	}
	return files
}
