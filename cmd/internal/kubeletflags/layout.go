package kubeletflags

import (
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// A layout is a kind of node with a kubelet.service.
type layout struct {
	name string
	// is recognises it.
	is func(files unitfile.Files, s *unitfile.Service) bool
	// variable is the one that flags are added to, "" for none.
	variable string
	// writer says which program rewrites the files, and when, "" if none does; lasting
	// says how to give that program the flags instead.
	writer, lasting string
}

// known are the layouts, tried in this order. Their files and writers come from the
// sources of each: AgentBaker, amazon-eks-ami, kops, kubespray, minikube, kind, and
// kubernetes (cluster/gce).
var known = []layout{
	{
		name: "EKS", is: has("NODEADM_KUBELET_ARGS"),
		writer: "nodeadm writes it again at each boot",
	},
	{
		name: "AKS", is: has("KUBELET_FLAGS"), variable: "KUBELET_FLAGS",
		writer: "the provisioning script of AKS writes it when the node is created, and not at a reboot",
	},
	{
		name: "kops", is: has("DAEMON_ARGS"), variable: "DAEMON_ARGS",
		writer: "nodeup writes it again at each boot and rolling update", lasting: "run \"mirrorcred bootstrap join\" after it, in a hook of the instance group",
	},
	{
		name: "GCE", is: has("KUBELET_OPTS"), variable: "KUBELET_OPTS",
		writer: "kube-node-configuration.service writes it again at each boot", lasting: "run \"mirrorcred bootstrap join\" after it at each boot",
	},
	{
		name: "minikube", is: isMinikube,
		writer:  "\"minikube start\" writes the command again each time",
		lasting: "use minikube start --extra-config=kubelet." + ConfigFlag + "=CONFIG --extra-config=kubelet." + BinDirFlag + "=BIN_DIR",
	},
	{
		name: "kubespray", is: hasFile("/etc/kubernetes/kubelet.env"), variable: "KUBELET_ARGS",
		writer: "Ansible writes it again at each run", lasting: "set kubelet_custom_flags in the inventory as well",
	},
	{name: "kind", is: hasDropIn("11-kind.conf"), variable: extraArgs},
	{name: "kubeadm", is: has(kubeadmArgs), variable: extraArgs},
	{name: "plain", is: func(unitfile.Files, *unitfile.Service) bool { return true }, variable: extraArgs},
}

const (
	extraArgs   = "KUBELET_EXTRA_ARGS"
	kubeadmArgs = "KUBELET_KUBEADM_ARGS"
	// kubeadmFile belongs to kubeadm alone, which rewrites it at each join and ignores
	// what others write there (cmd/kubeadm/app/phases/kubelet/flags.go).
	kubeadmFile = "/var/lib/kubelet/kubeadm-flags.env"
)

func has(variable string) func(unitfile.Files, *unitfile.Service) bool {
	return func(_ unitfile.Files, s *unitfile.Service) bool {
		return slices.ContainsFunc(s.Variables, func(v unitfile.Variable) bool { return v.Name == variable })
	}
}

func hasFile(name string) func(unitfile.Files, *unitfile.Service) bool {
	return func(_ unitfile.Files, s *unitfile.Service) bool { return slices.Contains(s.EnvironmentFiles, name) }
}

func hasDropIn(name string) func(unitfile.Files, *unitfile.Service) bool {
	return func(_ unitfile.Files, s *unitfile.Service) bool {
		return slices.ContainsFunc(s.Files, func(f string) bool { return path.Base(f) == name })
	}
}

func isMinikube(_ unitfile.Files, s *unitfile.Service) bool {
	return len(s.Argv) > 0 && strings.HasPrefix(s.Argv[0], "/var/lib/minikube/")
}

func layoutOf(files unitfile.Files, s *unitfile.Service) layout {
	i := slices.IndexFunc(known, func(l layout) bool { return l.is(files, s) })
	return known[i]
}
