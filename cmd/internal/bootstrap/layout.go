package bootstrap

import (
	"fmt"
	"path"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// isThere reports whether a path of the node leads to something.
func isThere(files containerdconfig.Files, name string) bool {
	found, err := files.Glob(name)
	return err == nil && len(found) > 0
}

// closed refuses the distributions that allow no edits of their files.
func closed(files containerdconfig.Files) *Refusal {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := files.ReadFile(file)
		if err != nil {
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			id, isID := strings.CutPrefix(line, "ID=")
			switch {
			case !isID:
			case strings.Trim(id, `"'`) == "talos":
				return &Refusal{file, i + 1, "this is Talos, where no file can be edited", "set machine.registries.mirrors in the machine configuration"}
			case strings.Trim(id, `"'`) == "bottlerocket":
				return &Refusal{file, i + 1, "this is Bottlerocket, where no file can be edited", "set settings.container-registry.mirrors by its API"}
			}
		}
		return nil
	}
	return nil
}

// A generator is a distribution with a containerd of its own, whose configuration
// it writes at each start.
type generator struct {
	name, main, hostsDir, address string
	seen                          string // what shows that the node has it
	kubelet, binDir               string // "" for the defaults
}

var generators = []generator{
	{
		name: "k3s", seen: "/var/lib/rancher/k3s",
		main: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", hostsDir: "/var/lib/rancher/k3s/agent/etc/containerd/certs.d",
		address: "/run/k3s/containerd/containerd.sock",
		kubelet: "/var/lib/rancher/credentialprovider/config.yaml", binDir: "/var/lib/rancher/credentialprovider/bin",
	},
	{
		name: "RKE2", seen: "/var/lib/rancher/rke2",
		main: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml", hostsDir: "/var/lib/rancher/rke2/agent/etc/containerd/certs.d",
		address: "/run/k3s/containerd/containerd.sock",
		kubelet: "/var/lib/rancher/credentialprovider/config.yaml", binDir: "/var/lib/rancher/credentialprovider/bin",
	},
	{
		name: "MicroK8s", seen: "/var/snap/microk8s/current",
		main: "/var/snap/microk8s/current/args/containerd.toml", hostsDir: "/var/snap/microk8s/REVISION/args/certs.d",
		address: "/var/snap/microk8s/common/run/containerd.sock",
	},
}

// generatorOf returns the distribution that generates a main file, nil if none does.
func generatorOf(main string) *generator {
	for i, g := range generators {
		if main == g.main || path.Dir(path.Dir(path.Dir(main))) == "/var/snap/microk8s" && g.name == "MicroK8s" {
			return &generators[i]
		}
	}
	return nil
}

// elsewhere refuses a map that names containerd's usual files if the node does not have
// them but has a distribution with a containerd of its own.
func elsewhere(files containerdconfig.Files, main string) *Refusal {
	for _, usual := range []string{main, "/usr/bin/containerd", "/usr/local/bin/containerd", "/opt/bin/containerd"} {
		if isThere(files, usual) {
			return nil
		}
	}
	for _, g := range generators {
		if !isThere(files, g.seen) {
			continue
		}
		lines := fmt.Sprintf("hosts_dir = %q, config = %q and address = %q under [containerd]", g.hostsDir, g.main, g.address)
		if g.kubelet != "" {
			lines += fmt.Sprintf(", config = %q and bin_dir = %q under [kubelet]", g.kubelet, g.binDir)
		}
		return &Refusal{File: g.seen, Text: fmt.Sprintf("this node runs %s, whose containerd has files of its own", g.name), Repair: "write in the map: " + lines}
	}
	return nil
}

// generated judges a configuration that another program generates: its own
// config_path must be the map's hosts_dir.
func (s configSeen) generated(g *generator, wanted mirror.Containerd) *Refusal {
	v := s.judge(s.files)
	switch {
	case v.isMissing && containerdconfig.IsDir(wanted.ConfigPath, s.dir):
		return nil // the map says what it will be
	case v.isMissing:
		return &Refusal{File: s.main, Text: fmt.Sprintf("%s writes it at its first start, and it does not exist yet", g.name),
			Repair: fmt.Sprintf("start %s once, or write config_path = %q under [containerd] in the map", g.name, s.dir)}
	case len(v.versions) == 0:
		return refusalOf(v.noStart)
	case v.mirrors.File != "":
		return importFirst(v.mirrors)
	case v.noCRI != nil:
		return refusalOf(v.noCRI)
	case v.reason == nil:
		return nil
	}
	c := v.configs[0]
	if c.ConfigPath == "" || c.NotReading(c.ConfigPath) != nil {
		return &Refusal{File: s.main, Text: v.reason.Text, Repair: fmt.Sprintf("%s generates this file at each start, so set config_path in its template", g.name)}
	}
	return &Refusal{File: c.Set.File, Line: c.Set.Line,
		Text:   fmt.Sprintf("%s generates this file at each start, and its config_path is %q", g.name, c.ConfigPath),
		Repair: fmt.Sprintf("write hosts_dir = %q under [containerd] in the map", c.ConfigPath)}
}

// A rewriter is a program that rewrites containerd's configuration.
type rewriter struct {
	seen []string // what shows that the node has it
	who  string   // the program, and when it does
	last string   // how to make the setting permanent
}

var rewriters = []rewriter{
	{[]string{"/opt/azure/containers"}, "AKS writes it anew when it provisions the node", "what it writes has config_path = \"/etc/containerd/certs.d\""},
	{[]string{"/opt/kops", "/lib/systemd/system/kops-configuration.service", "/etc/systemd/system/kops-configuration.service"}, "nodeup of kops writes it anew at each boot and rolling update", "set spec.containerd.registryMirrors in the cluster, or run this again at each boot"},
	{[]string{"/home/kubernetes/bin/configure.sh", "/etc/systemd/system/kube-node-configuration.service"}, "the scripts of GCE write it anew at each boot", "run this again at each boot"},
	{[]string{"/kind/version"}, "kind writes it anew when it makes a node", "put the line into containerdConfigPatches"},
	{[]string{"/var/lib/minikube"}, "minikube edits it at each start", "run this again if the line is gone"},
	{[]string{"/etc/kubernetes/kubelet.env"}, "kubespray writes it anew at each run", "run this again after each"},
}

// rewrittenBy says which program rewrites a file of containerd's, and when; "" if none is
// known to.
func rewrittenBy(files containerdconfig.Files, file string) string {
	if strings.Contains(path.Base(file), "nvidia") {
		return file + ": NVIDIA's toolkit writes it anew at each start of its pod, from what is in force then"
	}
	for _, r := range rewriters {
		for _, name := range r.seen {
			if isThere(files, name) {
				return fmt.Sprintf("%s: %s; %s", file, r.who, r.last)
			}
		}
	}
	return ""
}

// nodeadmFile is where nodeadm, on EKS, is told what to write. It merges
// spec.containerd.config into its own configuration of containerd at each boot.
const nodeadmFile = "/etc/eks/nodeadm.d/mirrorcred-containerd.yaml"

// hasNodeadm reports whether nodeadm writes the node's files at each boot.
func hasNodeadm(files containerdconfig.Files) bool {
	return isThere(files, "/usr/bin/nodeadm") || isThere(files, "/etc/eks/nodeadm.d")
}

// nodeadmConfig returns a NodeConfig that sets config_path.
func (s configSeen) nodeadmConfig() []byte {
	plugin := imagesPlugin
	if s.mainVersion() == 2 || len(s.versions) == 1 && s.versions[0].Before(2, 0, 0) {
		plugin = criPlugin
	}
	return fmt.Appendf(nil, `%sapiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  containerd:
    config: |
      [plugins.%q.registry]
      config_path = %q
`, newHeader, plugin, s.dir)
}
