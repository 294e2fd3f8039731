package node

import (
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Watched returns the files whose change may mean that the node has to be
// looked at again, and a name in each directory of which any may: what the last
// plan was made of. The map is always among them.
func (n *Node) Watched() []string {
	paths := []string{n.Map}
	if n.inputs == nil {
		return paths
	}
	const any = "*" // no file has this name; the directory is what matters
	paths = append(paths, n.path(routesDir, any))
	if n.inputs.hostsDir != "" {
		paths = append(paths, n.path(n.inputs.hostsDir, any),
			n.path(n.inputs.kubeletConfig), n.path(n.inputs.kubeletConfig, any))
	}
	paths = append(paths, n.inputs.containerd...)
	if !n.elsewhere {
		// It is made anew when containerd restarts, which is when
		// containerd reads its configuration.
		paths = append(paths, n.inputs.address)
	}
	paths = append(paths, n.inputs.secrets...)
	for _, namespace := range n.inputs.namespaces {
		paths = append(paths, n.path(n.inputs.hostsDir, namespace, hosts.FileName))
	}
	return paths
}

// inputs are the paths that a plan is made of.
type inputs struct {
	hostsDir, kubeletConfig string // "" before there was a good map
	address                 string // of containerd
	namespaces              []string
	containerd              []string // on this machine: its configuration and what that imports
	secrets                 []string // on this machine: files that headers take values from
}

// note remembers what a plan is made of, whatever comes of it.
func (n *Node) note(m *mirror.Map) {
	n.inputs = &inputs{hostsDir: m.Containerd.HostsDir, kubeletConfig: m.Kubelet.Config, address: m.Containerd.Address}
	for _, one := range m.Mirrors {
		n.inputs.namespaces = append(n.inputs.namespaces, hosts.Namespace(one.Source))
		for _, t := range one.Targets {
			for _, h := range t.Settings.Header {
				if h.File != "" {
					n.inputs.secrets = append(n.inputs.secrets, n.path(h.File))
				}
			}
		}
	}
}
