package node

import (
	"errors"
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// rancherAddress is the socket of the containerd that k3s and RKE2 run.
const rancherAddress = "/run/k3s/containerd/containerd.sock"

// advise has a fault of containerd's configuration say what to do on a node where
// another program writes that file: k3s and RKE2, or nodeadm of EKS.
func (n *Node) advise(c mirror.Containerd, err error) {
	n.adviseRancher(c, err)
	n.adviseEKS(c, err)
}

// Where nodeadm of EKS is told what to write at each boot, and the file there in which
// bake tells it config_path (awslabs/amazon-eks-ami).
const (
	nodeadmDir  = "/etc/eks/nodeadm.d"
	nodeadmBake = nodeadmDir + "/mirrorcred-containerd.yaml"
)

// adviseEKS does that for nodeadm: what is edited in its file is gone after a boot.
func (n *Node) adviseEKS(c mirror.Containerd, err error) {
	var f *fault.Fault
	if !errors.As(err, &f) || c.Config != mirror.DefaultContainerdConfig {
		return
	}
	if _, err := n.tree.Stat(n.path(nodeadmDir)); err != nil {
		return
	}
	if _, err := n.tree.Stat(n.path(nodeadmBake)); err == nil {
		f.Fix = fmt.Sprintf("reboot: nodeadm writes this file at each boot, and then sets config_path by %s", nodeadmBake)
		return
	}
	f.Fix = "this is a node of EKS, where nodeadm writes this file at each boot: run \"mirrorcred bootstrap bake\", which has nodeadm set config_path (docs/nodes.md)"
}

// adviseRancher has a fault of containerd's configuration on a node of k3s or RKE2 say
// what the map lacks there: their containerd has its files elsewhere, and writes them
// itself.
func (n *Node) adviseRancher(c mirror.Containerd, err error) {
	var f *fault.Fault
	if !errors.As(err, &f) || c.Config != mirror.DefaultContainerdConfig || c.HostsDir != mirror.DefaultHostsDir {
		return
	}
	for _, r := range ranchers {
		dir := r.data + "/agent/etc/containerd"
		if _, err := n.tree.Stat(n.path(dir)); err != nil {
			continue
		}
		f.Fix = fmt.Sprintf("this is a node of %s: write under [containerd] in the map hosts_dir = %q, config = %q and address = %q (docs/nodes.md)", r.name, r.data+rancherTree, dir+"/config.toml", rancherAddress)
		return
	}
}
