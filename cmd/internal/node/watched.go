package node

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Watched returns the files that the last plan depended on, and for a directory
// in which any file matters, a name in it. A change of any of them calls for
// another pass. The map is always among them.
func (n *Node) Watched() []string {
	paths := n.mapFiles()
	if n.inputs == nil {
		return paths
	}
	const any = "*" // no file has this name; the directory is what matters
	paths = append(paths, n.path(plan.RoutesDir, any), n.path(record))
	if n.inputs.hostsDir != "" {
		paths = append(paths, n.path(n.inputs.hostsDir, any),
			n.path(n.inputs.kubeletConfig), n.path(n.inputs.kubeletConfig, any))
	}
	paths = append(paths, n.inputs.containerd...)
	if !n.elsewhere {
		// The socket is created again when containerd restarts, which is when it
		// reads its configuration.
		paths = append(paths, n.inputs.address)
	}
	paths = append(paths, n.inputs.named...)
	paths = append(paths, n.inputs.rancher...)
	paths = append(paths, n.inputs.warned...)
	for _, namespace := range n.inputs.namespaces {
		paths = append(paths, n.path(n.inputs.hostsDir, namespace, hosts.FileName))
	}
	return paths
}

// inputs are the paths that a plan is made from.
type inputs struct {
	hostsDir, kubeletConfig string // "" before there was a good map
	address                 string // of containerd
	namespaces              []string
	containerd              []string // on this machine: its configuration and what that imports
	rancher                 []string // on this machine: what k3s and RKE2 make directories from
	named                   []string // on this machine: the files that settings of registries name
	warned                  []string // on this machine: files that a warning is about, or may be
}

// note records the inputs of a plan, whatever its outcome.
func (n *Node) note(m *mirror.Map) {
	n.inputs = &inputs{hostsDir: m.Containerd.HostsDir, kubeletConfig: m.Kubelet.Config, address: m.Containerd.Address}
	seen := map[string]bool{}
	add := func(file string) {
		if file != "" && !seen[file] {
			seen[file] = true
			n.inputs.named = append(n.inputs.named, n.path(file))
		}
	}
	for _, one := range m.Mirrors {
		n.inputs.namespaces = append(n.inputs.namespaces, hosts.Namespace(one.Source))
		if one.Ready > 0 {
			add(plan.ReadyDir + "/*") // each file in it
		}
		for _, t := range one.Targets {
			for _, h := range t.Settings.Header {
				add(h.File)
			}
			if t.DeliverHosts {
				add(handover.Dir + "/*") // each file in it
			}
			for _, file := range certificateFiles(t.Settings) {
				add(file)
			}
		}
	}
}
