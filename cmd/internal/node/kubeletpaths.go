package node

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// usePaths gives a map that names neither config nor bin_dir those that the kubelet
// of a node starts with: on AKS, EKS, kops, k3s and RKE2 the flags are there already.
// If they cannot be found out, the defaults stay.
func (n *Node) usePaths(m *mirror.Map) {
	if m.Kubelet.Named {
		return
	}
	k, err := kubeletflags.Find(n.Files())
	if err == nil && k.Now.Config != "" && k.Now.BinDir != "" {
		m.Kubelet.Config, m.Kubelet.BinDir = k.Now.Config, k.Now.BinDir
	}
}

// Files are the files of a node by their paths on it, for the packages that are
// given them. It implements unitfile.Files.
type Files struct{ n *Node }

// Files returns the node's files.
func (n *Node) Files() Files { return Files{n} }

// ReadFile reads a file. A link to /dev/null, with which a unit is masked, is an
// empty one.
func (f Files) ReadFile(name string) ([]byte, error) {
	at := f.n.path(name)
	if to, err := f.n.tree.Readlink(at); err == nil && to == "/dev/null" {
		return []byte{}, nil
	}
	return f.n.tree.ReadFile(at, 0)
}

// Glob returns the paths that match a pattern.
func (f Files) Glob(pattern string) ([]string, error) {
	names, err := f.n.tree.Glob(f.n.path(pattern))
	for i, name := range names {
		names[i] = f.n.onNode(name)
	}
	return names, err
}
