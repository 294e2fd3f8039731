package node

import (
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// observeFurther reads what depends on what was seen first: the previous tree,
// what k3s and RKE2 will write, and where nothing can be changed.
func (n *Node) observeFurther(o *plan.Observed, d plan.Desired, wanted map[string]bool) error {
	hostsDir := d.Map.Containerd.HostsDir
	var warnings []doctor.Finding
	o.Rancher, warnings = n.readRancher(hostsDir)
	o.Warnings = append(o.Warnings, warnings...)
	if !n.elsewhere {
		o.OldHostsDir = plan.PreviousTree(*o, hostsDir)
	}
	if err := n.observeMove(o, hostsDir); err != nil {
		return err
	}
	o.Certificates, o.Clients = n.checkCertificates(d.Map)
	o.Obstacles = map[string]string{}
	note := func(name string) {
		if reason := n.obstacle(hostsDir, name); reason != "" {
			o.Obstacles[name] = reason
		}
	}
	for _, f := range d.Files {
		if ns, exists := o.Namespaces[f.Namespace]; exists && (o.OldHostsDir != "" || !ns.Holds(f)) {
			note(f.Namespace)
		}
	}
	for name, ns := range o.Namespaces {
		if !wanted[name] && ns.Unusable == "" && (o.OldHostsDir != "" || ns.Owner() == hosts.Ours) {
			note(name)
		}
	}
	return nil
}

// observeMove reads the previous tree, and what is only in the new one.
func (n *Node) observeMove(o *plan.Observed, hostsDir string) error {
	if o.OldHostsDir == "" {
		return nil
	}
	var err error
	o.OldNamespaces, err = n.readTree(o, n.path(o.OldHostsDir), nil, func(string) bool { return false })
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Namespaces)) {
		ns := o.Namespaces[name]
		if ns.Unusable != "" || ns.Owner() != hosts.Ours {
			continue
		}
		entries, err := n.tree.ReadDir(n.path(hostsDir, name))
		ns.Alone = err == nil && len(entries) == 1
		o.Namespaces[name] = ns
	}
	return nil
}

// observeKubelets finds the running kubelets. Below another root there are
// none.
func (n *Node) observeKubelets(o *plan.Observed) {
	if n.elsewhere {
		return
	}
	o.ClockSet = n.host.clockSet(n.dry)
	o.Running, o.Unseen, o.KubeletFault = n.host.kubelets()
	for i, k := range o.Running {
		if !o.State.Knows(k) && o.State.Stamp != o.Kubelet.Version.Stamp {
			o.Running[i].Dating = n.host.dated(k)
		}
	}
	for i := range o.Running {
		k := &o.Running[i]
		k.Config, _ = flagOf(*k, "image-credential-provider-config")
		k.BinDir, _ = flagOf(*k, "image-credential-provider-bin-dir")
	}
}
