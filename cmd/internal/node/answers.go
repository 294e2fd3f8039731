package node

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const (
	// kubeletRoot is the kubelet's root directory unless a flag says otherwise.
	kubeletRoot = "/var/lib/kubelet"
	// rootHome is root's home, for a kubelet that may not be asked for its own.
	rootHome = "/root"
)

// nodeConfigs reads the docker configurations that the kubelets of the node find
// by themselves. If none runs, or its place cannot be read, it is taken for one
// that systemd starts: in "/", without $HOME.
func (n *Node) nodeConfigs(running []plan.Process) [][]doctor.DockerFile {
	var all [][]doctor.DockerFile
	for _, k := range running {
		root, _ := flagOf(k, "root-dir")
		all = append(all, n.dockerFiles(cmp.Or(root, kubeletRoot), k.Place))
	}
	if len(all) == 0 {
		all = append(all, n.dockerFiles(kubeletRoot, &plan.Place{Dir: "/"}))
	}
	return slices.DeleteFunc(all, func(list []doctor.DockerFile) bool { return len(list) == 0 })
}

// dockerFiles reads the docker configurations in the places and the order in
// which a kubelet searches: config.json in its root directory, its working
// directory, $HOME/.docker and /.docker, and after all of those .dockercfg in
// the first two, $HOME and "/" (Kubernetes v1.37.0,
// pkg/credentialprovider/config.go, DefaultDockerConfigJSONPaths and
// DefaultDockercfgPaths). Without $HOME the working directory takes its place.
func (n *Node) dockerFiles(root string, at *plan.Place) []doctor.DockerFile {
	guess := ""
	if at == nil {
		at = &plan.Place{Dir: "/", Home: rootHome}
		guess = "if its $HOME is " + rootHome
	}
	in := func(dir string) string {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(at.Dir, dir)
		}
		return dir
	}
	var list []doctor.DockerFile
	seen := map[string]bool{}
	add := func(legacy bool, condition string, parts ...string) {
		path := in(filepath.Join(parts...))
		if seen[path] {
			return
		}
		seen[path] = true
		if f, data := n.inspectFile(path); f.Err == nil {
			list = append(list, doctor.DockerFile{Path: f.Path, Legacy: legacy, Data: data, If: condition})
		}
	}
	for _, legacy := range []bool{false, true} {
		name, below := "config.json", ".docker"
		if legacy {
			name, below = ".dockercfg", ""
		}
		add(legacy, "", root, name)
		add(legacy, "", ".", name)
		add(legacy, guess, at.Home, below, name)
		add(legacy, "", "/", below, name)
	}
	return list
}
