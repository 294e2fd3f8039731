package check

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The files that nodeadm rewrites at each boot of an EKS node, and the directory of its
// settings (awslabs/amazon-eks-ami, nodeadm).
const (
	eksDir        = "/etc/eks/nodeadm.d"
	eksSign       = "/etc/eks/kubelet/environment"
	eksProviders  = "/etc/eks/image-credential-provider/config.json"
	eksConfigFile = mirror.DefaultContainerdConfig
)

// nodeadm reports settings in files that nodeadm rewrites.
func (v *visit) nodeadm(m *mirror.Map) {
	if _, err := v.in.Stat(v.at(eksSign)); err != nil {
		return
	}
	if m.Kubelet.Config == eksProviders {
		v.add(doctor.NodeadmRewrites, v.at(eksProviders), "nodeadm overwrites this file at each boot, without mirrorcred's provider; pulls then have no credential until mirrorcred has added it again and the kubelet has restarted",
			fmt.Sprintf("write under [kubelet] in the map config = %q, bin_dir = %q, and the kubelet's version, 1.34 or later; then run \"mirrorcred bootstrap join\", which has nodeadm name that directory by a file in %s (docs/nodes.md, EKS)", path.Dir(eksProviders), path.Dir(eksProviders), eksDir))
	}
	if m.Containerd.Config != eksConfigFile || v.nodeadmSets("config_path") {
		return
	}
	v.add(doctor.NodeadmRewrites, v.at(eksConfigFile), "nodeadm overwrites this file at each boot, with a list as config_path unless a NodeConfig sets another, and none in "+eksDir+" does; if the user data does not either, mirrors are off after the next boot",
		fmt.Sprintf("run \"mirrorcred bootstrap bake\", which has nodeadm set config_path = %q by a file in %s (docs/nodes.md, EKS)", m.Containerd.HostsDir, eksDir))
}

// nodeadmSets reports whether a NodeConfig on the node has a setting.
func (v *visit) nodeadmSets(setting string) bool {
	for _, ending := range []string{"*.yaml", "*.yml", "*.json"} {
		names, _ := v.in.Glob(v.at(eksDir, ending)) // the pattern is a good one
		for _, name := range names {
			if data, err := v.in.ReadFile(name, 0); err == nil && strings.Contains(string(data), setting) {
				return true
			}
		}
	}
	return false
}

// ctrPull matches a pull by ctr, with its arguments.
var ctrPull = regexp.MustCompile(`\bctr\b.*\s(?:images?|i)\s+pull\s+(.*)`)

// ctr reports pulls by ctr in the units of this node: without --hosts-dir, ctr reads no
// hosts.toml.
func (v *visit) ctr(m *mirror.Map) {
	for _, pattern := range []string{"/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf", "/usr/local/lib/systemd/system/*.service"} {
		names, _ := v.in.Glob(v.at(pattern)) // the pattern is a good one
		for _, name := range names {
			data, err := v.in.ReadFile(name, 0)
			if err != nil {
				continue
			}
			number := 0
			for line := range strings.Lines(string(data)) {
				number++
				pull := ctrPull.FindStringSubmatch(line)
				if pull == nil || strings.HasPrefix(strings.TrimSpace(line), "#") || strings.Contains(pull[1], "--hosts-dir") {
					continue
				}
				if source := mapped(m, pull[1]); source != "" {
					v.add(doctor.CtrIgnoresHosts, place(name, number), fmt.Sprintf("ctr reads no hosts.toml unless it is told to, so this pull of %q goes to the source", source),
						fmt.Sprintf("add --hosts-dir %s, and --user if the mirror asks for a credential", filepath.Clean(m.Containerd.HostsDir)))
				}
			}
		}
	}
}

// mapped returns the map's source of the image in a command, "" if the command has no
// image of the map.
func mapped(m *mirror.Map, words string) string {
	for word := range strings.FieldsSeq(words) {
		if host, _, ok := strings.Cut(strings.Trim(word, `"'`), "/"); ok && strings.ContainsAny(host, ".:") && !strings.HasPrefix(host, "-") {
			if s, err := mirror.ParseSource(host); err == nil {
				if _, ok := m.Mirror(s); ok {
					return host
				}
			}
		}
	}
	return ""
}
