package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// k3s and RKE2 render hosts.toml files of their own when they start, out of
// registries.yaml. For each registry in it they replace the directory of that
// name, whoever made it (k3s-io/k3s 06ea261, pkg/agent/containerd/config.go).
// They do so below one directory only.

// rancherTree is how the path of that directory ends, below the data directory.
const rancherTree = "/agent/etc/containerd/certs.d"

// A rancher is k3s or RKE2.
type rancher struct {
	name, data string
	etc        string   // where its configuration is, unless a flag says otherwise
	services   []string // a server and an agent
}

var ranchers = []rancher{
	{"k3s", "/var/lib/rancher/k3s", "/etc/rancher/k3s", []string{"k3s.service", "k3s-agent.service"}},
	{"RKE2", "/var/lib/rancher/rke2", "/etc/rancher/rke2", []string{"rke2-server.service", "rke2-agent.service"}},
}

// ranchersOf returns which of them write below a hosts_dir.
func (n *Node) ranchersOf(hostsDir string) []rancher {
	var all []rancher
	for _, r := range ranchers {
		tree := r.data + rancherTree
		if hostsDir == tree || n.sameDir(hostsDir, tree) {
			return []rancher{r}
		}
		all = append(all, r)
	}
	if strings.HasSuffix(hostsDir, rancherTree) {
		return all // with --data-dir
	}
	return nil
}

// sameDir reports whether two paths lead to one directory.
func (n *Node) sameDir(a, b string) bool {
	one, err := n.tree.Stat(n.path(a))
	if err != nil {
		return false
	}
	other, err := n.tree.Stat(n.path(b))
	return err == nil && os.SameFile(one, other)
}

// readRancher finds the directories that k3s or RKE2 will write. An unreadable
// file is only a warning: they would not start with it, or it is not theirs.
func (n *Node) readRancher(hostsDir string) (map[string]plan.Naming, []doctor.Finding) {
	named := map[string]plan.Naming{}
	var warnings []doctor.Finding
	for _, r := range n.ranchersOf(hostsDir) {
		files, err := n.registriesOf(r)
		if err != nil {
			warnings = append(warnings, unreadable(r, err))
		}
		for _, file := range files {
			data, err := rancherInput{n}.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var list []plan.Naming
			if err == nil {
				list, err = readRegistries(data)
			}
			if err != nil {
				warnings = append(warnings, unreadable(r, &fs.PathError{Path: file, Err: err}))
			}
			for _, one := range list {
				one.By, one.File = r.name, file
				for _, dir := range rancherDirs(one.Host) {
					named[dir] = one
				}
			}
		}
	}
	return named, warnings
}

// unreadable is the warning about a file of k3s or RKE2. The error has its path.
func unreadable(r rancher, err error) doctor.Finding {
	where := r.etc
	var at *fs.PathError
	for errors.As(err, &at) {
		where, err = at.Path, at.Err
	}
	return doctor.Finding{
		Name: doctor.RegistriesYAMLUnreadable, Where: where,
		Text:   fmt.Sprintf("%v; so mirrorcred does not know which directories %s will replace", err, r.name),
		Repair: "repair it",
	}
}

// rancherDirs returns the directories that are removed or written for a name in
// registries.yaml.
func rancherDirs(host string) []string {
	if host == "*" {
		return []string{hosts.Default}
	}
	return []string{host, hosts.Candidates(host)[0]}
}

// readRegistries returns the registries for which a registries.yaml makes k3s
// write a hosts.toml: those under mirrors, because an embedded registry may
// serve them, and those under configs with a login or TLS settings.
func readRegistries(data []byte) ([]plan.Naming, error) {
	var top yaml.Node
	if err := yaml.Unmarshal(data, &top); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if len(top.Content) == 0 {
		return nil, nil
	}
	if resolve(top.Content[0]).Kind != yaml.MappingNode {
		return nil, errors.New("it is not a table of mirrors and configs")
	}
	var list []plan.Naming
	for key, value := range pairs(top.Content[0]) {
		section := key.Value
		if section != "mirrors" && section != "configs" {
			continue
		}
		for host, settings := range pairs(value) {
			if section == "mirrors" || hasSettings(settings) {
				list = append(list, plan.Naming{Line: host.Line, Host: host.Value})
			}
		}
	}
	return list, nil
}

// hasSettings reports whether an entry of configs has any settings.
func hasSettings(config *yaml.Node) bool {
	for key, value := range pairs(config) {
		if (key.Value == "auth" || key.Value == "tls") && resolve(value).Tag != "!!null" {
			return true
		}
	}
	return false
}

// mostAliases bounds how deep aliases and merges are followed.
const mostAliases = 20

// resolve returns what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for range mostAliases {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

// pairs ranges over a mapping, with what is merged into it.
func pairs(n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) { yieldPairs(n, yield, mostAliases) }
}

func yieldPairs(n *yaml.Node, yield func(key, value *yaml.Node) bool, depth int) bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode || depth == 0 {
		return true
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag != "!!merge" {
			if !yield(key, value) {
				return false
			}
			continue
		}
		merged := []*yaml.Node{value}
		if list := resolve(value); list.Kind == yaml.SequenceNode {
			merged = list.Content
		}
		for _, one := range merged {
			if !yieldPairs(one, yield, depth-1) {
				return false
			}
		}
	}
	return true
}
