package node

import (
	"path"
	"slices"

	live "github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// useKubeconfig gives credentials of pods' own pull secrets that name no kubeconfig the
// one of the node's kubelet. If that cannot be found out, the plugin looks in the usual
// places at each run.
func (n *Node) useKubeconfig(m *mirror.Map) {
	isOpen := func(c mirror.Credential) bool { return c.Kind == mirror.PullSecret && c.File == "" }
	if !slices.ContainsFunc(m.Credentials, isOpen) {
		return
	}
	file := n.kubeconfig()
	m.Credentials = slices.Clone(m.Credentials) // the parsed map is kept
	for i, c := range m.Credentials {
		if isOpen(c) {
			m.Credentials[i].File = file
		}
	}
}

// kubeconfig returns the path that the running kubelet has, or else the one that a
// kubelet of this node would start with; "" if neither is known.
func (n *Node) kubeconfig() string {
	if !n.elsewhere {
		running, _, err := n.host.kubelets()
		for _, k := range running {
			if file, ok := flagOf(k, "kubeconfig"); ok && err == nil && path.IsAbs(file) {
				return path.Clean(file)
			}
		}
	}
	k, err := kubeletflags.Find(n.Files())
	if err != nil {
		return ""
	}
	if file, ok := live.Flag(k.Argv, "kubeconfig"); ok && path.IsAbs(file) {
		return path.Clean(file)
	}
	return ""
}
