package check

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

const (
	kubeletUnit = "kubelet.service"
	configFlag  = "image-credential-provider-config"
	binDirFlag  = "image-credential-provider-bin-dir"
	inTreeFlag  = "azure-container-registry-config"
)

// kubeletStart checks how the unit of this machine's kubelet starts it. Below another
// root the plan checks that, for more layouts.
func (v *visit) kubeletStart(m *mirror.Map) {
	c, err := unitfile.ReadCommand(files{v}, kubeletUnit)
	if err != nil || len(c.Argv) == 0 {
		return // k3s and others have no such unit
	}
	config, hasConfig := kubelet.Flag(c.Argv, configFlag)
	binDir, hasBinDir := kubelet.Flag(c.Argv, binDirFlag)
	known := len(c.Unset) == 0 // else a flag may be in a variable with an unknown value
	if v.root == "" && known {
		if hasConfig != hasBinDir {
			v.found = append(v.found, doctor.OneFlag(kubeletUnit, m.Kubelet, hasBinDir))
		}
		if _, ok := kubelet.Flag(c.Argv, inTreeFlag); ok {
			v.found = append(v.found, doctor.InTree(kubeletUnit))
		}
	}
	for _, k := range v.kubelets() {
		if k.Embedded || k.Unit != kubeletUnit || !known {
			continue
		}
		s := doctor.Start{PID: k.PID, Unit: k.Unit, NextConfig: config, NextBinDir: binDir}
		s.Config, _ = kubelet.Flag(k.Args, configFlag)
		s.BinDir, _ = kubelet.Flag(k.Args, binDirFlag)
		v.found = append(v.found, doctor.NextStart(s)...)
	}
}

// tokens checks providers that get the pods' tokens: the kubelet must support that, and
// the cluster must allow it.
func (v *visit) tokens(m *mirror.Map, mapFile string, entries []kubeletconfig.Entry) {
	early := ""
	for _, e := range entries {
		if e.TokenAttributes == nil {
			continue
		}
		if early == "" {
			early = v.tooEarly(m)
		}
		if early == "" {
			break
		}
		v.add(doctor.TokenAttributesEarly, place(e.File, e.Line), fmt.Sprintf("provider %q has tokenAttributes, and %s does not start with them", e.Name, early),
			"update the kubelet to 1.34 or later, or take tokenAttributes out (for mirrorcred's own, audience in the map, and the kinds service-account-token and pull-secret)")
	}
	for _, c := range m.Credentials {
		if c.Token == nil || v.answered(m, c.Name) {
			continue
		}
		v.add(doctor.TokenRBAC, mapFile, fmt.Sprintf("no pull is known yet that got credential %q with a pod's token; until the cluster lets its nodes ask for tokens of audience %q, the kubelet does not run the plugin for it", c.Name, c.Token.Audience),
			"run \"mirrorcred rbac | kubectl apply -f -\", with the right to create ClusterRoles; docs/credentials.md has the rule")
	}
}

// firstWithTokens is the first minor version of the kubelet that supports tokenAttributes
// as they are written here.
const firstWithTokens = 34

// tooEarly names the kubelet if it is known not to start with tokenAttributes, else "".
func (v *visit) tooEarly(m *mirror.Map) string {
	version, is := m.Kubelet.Version, "the kubelet of this node"
	for _, k := range v.kubelets() {
		if told, err := k.Version(); version == "" && err == nil {
			version, is = told, fmt.Sprintf("the kubelet (process %d)", k.PID)
		}
	}
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil || major > 1 || minor >= firstWithTokens {
		return ""
	}
	return fmt.Sprintf("%s, version %s,", is, version)
}

// answered reports whether the plugin's log has a run that returned a credential, which
// proves that the kubelet runs the plugin.
func (v *visit) answered(m *mirror.Map, name string) bool {
	file := m.Kubelet.AuditLog
	if file == "" {
		file = audit.DefaultFile
	}
	if !path.IsAbs(file) {
		return true // it cannot be read, and a guess is not a finding
	}
	log := audit.Open(v.in, v.at(file))
	defer log.Close()
	found := false
	err := log.Next(func(line []byte) error {
		e, ok := audit.Decode(line)
		found = found || ok && e.Outcome == audit.Answered && slices.ContainsFunc(e.Targets, func(t audit.Target) bool { return t.Credential == name && t.Failure == "" })
		return nil
	})
	return found || err != nil
}

// poisoned reports mirrors of the stock plugin below one registry. That plugin returns
// each answer for the whole registry, and the kubelet caches it for up to an hour.
func (v *visit) poisoned(entries []kubeletconfig.Entry) {
	for _, e := range entries {
		if e.Name != mirror.Stock {
			continue
		}
		below := map[string]string{} // a source with a path, by its host
		for _, pair := range mirrorPairs(e.Args) {
			source, _, _ := strings.Cut(pair, ":")
			host, _, _ := strings.Cut(source, "/")
			first, seen := below[host]
			if seen && first != source && (strings.Contains(first, "/") || strings.Contains(source, "/")) {
				v.add(doctor.CachePoisoned, place(e.File, e.Line), fmt.Sprintf("--registry-mirror of provider %q names %q and %q, and the kubelet keeps the answer for one of them for all images of %q, so pulls of the other have no credential for up to an hour", e.Name, first, source, host),
					"name the registry once there, without a path, or map it with mirrorcred's plugin")
				break
			}
			below[host] = source
		}
	}
}

// mirrorPairs returns the entries of the last --registry-mirror, which is the one that
// counts.
func mirrorPairs(args []string) []string {
	value, _ := kubelet.Flag(args, "registry-mirror")
	if short, ok := kubelet.Flag(args, "r"); ok && value == "" {
		value = short
	}
	if strings.HasPrefix(value, "@") {
		return nil
	}
	return strings.Split(strings.ReplaceAll(value, " ", ""), ",")
}

// metadataURL is the address of the clouds' metadata services.
const metadataURL = "http://169.254.169.254/metadata/identity/oauth2/token"

// kubeletUnits are the services in which a kubelet runs.
var kubeletUnits = []string{kubeletUnit, "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service"}

// metadata reports a proxy between another program and the metadata service. Those
// requests are plain HTTP, so the proxy sees the node's token. mirrorcred's own plugin
// never uses a proxy for them.
func (v *visit) metadata(m *mirror.Map) {
	program := ""
	if plugin := plan.PluginOf(m); plugin.UsesProxy() {
		program = plugin.Name()
	}
	for _, c := range m.Credentials {
		if base := path.Base(c.Command); c.Kind == mirror.Exec && slices.Contains(cloudProviders, base) {
			program = base
		}
	}
	if program == "" {
		return
	}
	for _, unit := range kubeletUnits {
		env, err := unitfile.Environment(files{v}, unit)
		if err != nil {
			continue
		}
		get := func(name string) string {
			if value, ok := env[name]; ok {
				return value
			}
			return env[strings.ToLower(name)]
		}
		at, _ := url.Parse(metadataURL)
		proxies := httpproxy.Config{HTTPProxy: get("HTTP_PROXY"), NoProxy: get("NO_PROXY")}
		if proxy, err := proxies.ProxyFunc()(at); err == nil && proxy != nil {
			v.add(doctor.MetadataProxied, unit, fmt.Sprintf("HTTP_PROXY is set for the kubelet, and %s asks the metadata service through it, so the proxy %s sees the node's token, or the pulls get none", program, proxy.Host),
				"add 169.254.169.254 to NO_PROXY of that unit, and restart it")
		}
	}
}

// cloudProviders are providers that get their credential from the metadata service.
var cloudProviders = []string{mirror.Stock, "ecr-credential-provider", "gcp-credential-provider", "auth-provider-gcp"}

// flagsEnv is the file that kubeadm writes and reads again.
const flagsEnv = "/var/lib/kubelet/kubeadm-flags.env"

// kubeadmFlags reports lines in kubeadm's own file with which "kubeadm upgrade node" goes
// wrong (cmd/kubeadm/app/phases/kubelet/flags.go, 1.36).
func (v *visit) kubeadmFlags() {
	const name = "KUBELET_KUBEADM_ARGS="
	data, err := v.in.ReadFile(v.at(flagsEnv), 0)
	if err != nil {
		return
	}
	text := strings.TrimSpace(string(data))
	move := "put it into " + filepath.Join(v.at("/"), "etc/default/kubelet") + " (or etc/sysconfig/kubelet), which kubeadm leaves alone"
	if !strings.HasPrefix(text, name) {
		v.add(doctor.KubeadmFlagsComment, place(v.at(flagsEnv), 1), "the file does not begin with "+name+", so the next \"kubeadm upgrade node\" fails", "remove what is before it; for a comment or a variable of your own, "+move)
		return
	}
	if first, _, more := strings.Cut(text, "\n"); more && !strings.HasSuffix(first, "\\") {
		v.add(doctor.KubeadmFlagsComment, place(v.at(flagsEnv), 2), "kubeadm takes every line of this file for flags, so the next \"kubeadm upgrade node\" makes flags of this one, and the kubelet does not start", move)
	}
}
