package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

const (
	kubeletDefaults = "/etc/default/kubelet"
	pluginFile      = providerBin + "/mirror-credential-provider"
)

// A breakage is a change of a node that was set up, after which a pod's
// image is not pulled from the mirror. "mirrorcred check" names the cause.
type breakage struct {
	finding string
	// toSource says that the source is asked then; else the pull fails and it is
	// not. noKubelet says that the kubelet does not start, and so no pod does.
	toSource, noKubelet bool
	// probe says that it takes "check --probe" to find it.
	probe bool
	// change breaks the node, and repair is what the finding advises.
	change, repair func(n *bare)
}

// containerdBreakages differ between the lines of containerd.
var containerdBreakages = []breakage{
	{
		finding: "config-path-unset", toSource: true,
		change: func(n *bare) { n.unsetConfigPath(); n.do("restart", "containerd.service") },
		repair: func(n *bare) { n.mirrorcred(0, "bootstrap", "bake") },
	},
	{
		finding: "config-path-overridden", toSource: true,
		change: func(n *bare) { n.override(); n.do("restart", "containerd.service") },
		repair: func(n *bare) { check(n.T, os.Remove(overrideFile)); n.do("restart", "containerd.service") },
	},
	{
		finding: "restart-pending", toSource: true,
		change: func(n *bare) {
			saved := n.unsetConfigPath()
			n.do("restart", "containerd.service")
			n.isUp()
			saved.restore(n.T)
		},
		repair: func(n *bare) { n.do("restart", "containerd.service") },
	},
	{
		finding: "not-parsed", toSource: true,
		change: func(n *bare) { n.replace(hostsFile, "[host]", "[host") },
		repair: func(n *bare) { n.mirrorcred(0, "apply", "--adopt") },
	},
}

var breakages = []breakage{
	{
		finding: "edited",
		change:  func(n *bare) { n.replace(hostsFile, "https://contoso", "https://fabrikam") },
		repair:  func(n *bare) { n.mirrorcred(0, "apply", "--adopt") },
	},
	{
		finding: "plugin-missing",
		change:  func(n *bare) { check(n.T, os.Remove(pluginFile)) },
		repair:  func(n *bare) { n.mirrorcred(0, "bootstrap", "join") },
	},
	{
		finding: "plugin-not-executable",
		change:  func(n *bare) { check(n.T, os.Chmod(pluginFile, 0o644)) },
		repair:  func(n *bare) { check(n.T, os.Chmod(pluginFile, 0o755)) },
	},
	{
		finding: "azure-json-missing",
		change:  func(n *bare) { check(n.T, os.Rename(azureFile, azureFile+".moved")); n.noTokens() },
		repair:  func(n *bare) { check(n.T, os.Rename(azureFile+".moved", azureFile)) },
	},
	{
		finding: "probe-credential", probe: true,
		change: func(n *bare) {
			n.replace(azureFile, `true`, `true, "userAssignedIdentityID": "99999999-9999-9999-9999-999999999999"`)
			n.noTokens()
		},
		repair: func(n *bare) {
			n.replace(azureFile, `, "userAssignedIdentityID": "99999999-9999-9999-9999-999999999999"`, "")
		},
	},
	{
		finding: "probe-forbidden", probe: true,
		change: func(n *bare) {
			world.acr[contoso].Fail("/v2/broken/probe-forbidden/manifests/1", azuretest.Refuse(403))
		},
		repair: func(n *bare) { world.acr[contoso].Repair() },
	},
	{
		finding: "flags-missing",
		change: func(n *bare) {
			write(n.T, kubeletDefaults, "KUBELET_EXTRA_ARGS=\n")
			n.do("restart", "kubelet.service")
			n.isUp()
		},
		repair: func(n *bare) { n.mirrorcred(0, "bootstrap", "join") },
	},
	{
		finding: "one-flag-only", noKubelet: true,
		change: func(n *bare) {
			n.replace(kubeletDefaults, " --image-credential-provider-bin-dir="+providerBin, "")
			n.do("restart", "kubelet.service")
		},
		repair: func(n *bare) {
			n.replace(kubeletDefaults, providerConfig, providerConfig+" --image-credential-provider-bin-dir="+providerBin)
			n.do("restart", "kubelet.service")
		},
	},
	{
		finding: "in-tree-acr-flag", noKubelet: true,
		change: func(n *bare) {
			n.replace(kubeletDefaults, providerConfig, providerConfig+" --azure-container-registry-config="+azureFile)
			n.do("restart", "kubelet.service")
		},
		repair: func(n *bare) {
			n.replace(kubeletDefaults, " --azure-container-registry-config="+azureFile, "")
			n.do("restart", "kubelet.service")
		},
	},
	{
		finding: "provider-name-twice", noKubelet: true,
		change: func(n *bare) {
			n.replace(providerConfig, "providers:\n", "providers:\n"+strings.Repeat(twice, 2))
			n.do("restart", "kubelet.service")
		},
		repair: func(n *bare) {
			n.replace(providerConfig, strings.Repeat(twice, 2), "")
			// Of a file that is a second older than the kubelet it is known that the
			// kubelet has read it.
			time.Sleep(1100 * time.Millisecond)
			n.do("restart", "kubelet.service")
		},
	},
}

// twice is an entry that stands twice in the configuration of the kubelet.
const twice = `  - name: acr-credential-provider
    matchImages: ["*.azurecr.us"]
    defaultCacheDuration: 10m
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`

// TestBrokenNode breaks nodes that bake and join have set up, sees that a pod does
// not get its image from the mirror, and that check names the cause. After the
// repair check finds nothing.
func TestBrokenNode(t *testing.T) {
	for i, version := range bareVersions() {
		t.Run(version, func(t *testing.T) {
			n := bareNode(t, version)
			n.setUp()
			n.isHealthy()
			list := containerdBreakages
			if i == 0 {
				list = slices.Concat(list, breakages)
			}
			for _, b := range list {
				t.Run(b.finding, func(t *testing.T) {
					inner := *n
					inner.T = t
					inner.breaks(b)
				})
				if t.Failed() {
					return // the next ones would find this one's cause
				}
			}
		})
	}
}

// breaks breaks the node, has a pod try, asks check, and repairs the node.
func (n *bare) breaks(b breakage) {
	n.Helper()
	image := "mcr.microsoft.com/broken/" + b.finding
	push(n.T, contoso, "broken/"+b.finding, "1")
	forget()
	defer func() {
		if n.Failed() {
			n.Log(n.run("check"))
		}
	}()
	b.change(n)
	if b.noKubelet {
		within(n.T, 30*time.Second, func() error {
			if state := n.do("show", "--property=SubState", "--value", "kubelet.service"); state != "auto-restart" {
				return fmt.Errorf("the kubelet's unit is %s", state)
			}
			return nil
		})
	} else {
		n.isUp()
		check(n.T, node.RunPod(b.finding, image+":1"))
		if b.toSource {
			within(n.T, time.Minute, func() error { return asksSource("broken/" + b.finding) })
		} else {
			within(n.T, time.Minute, func() error { return n.pullFailed(image) })
			silent(n.T, "mcr.microsoft.com")
		}
		check(n.T, node.RemovePod(b.finding))
	}
	unoffered(n.T, "mcr.microsoft.com")

	args := []string{"check", "--json"}
	if b.probe {
		args = append(args, "--probe", "--image", image+":1")
	}
	n.finds(b.finding, args...)
	b.repair(n)
	n.isUp()
	n.isHealthy()
}

// pullFailed has no error once the kubelet says that it could not pull an image, from
// a containerd that answered.
func (n *bare) pullFailed(image string) error {
	log, err := os.ReadFile(node.KubeletLog)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "PullImage from image service failed") && strings.Contains(line, image) && !strings.Contains(line, "code = Unavailable") {
			return nil
		}
	}
	return fmt.Errorf("the kubelet does not say that it could not pull %s", image)
}

// asksSource has no error once the source has been asked for a repository.
func asksSource(repository string) error {
	for _, r := range world.sources["mcr.microsoft.com"].Requests() {
		if strings.Contains(r.URL, repository) {
			return nil
		}
	}
	return fmt.Errorf("the source is not asked for %s", repository)
}

// finds fails the test unless check exits with 1 and names the finding, with a
// place and a repair.
func (n *bare) finds(name string, args ...string) {
	n.Helper()
	var found struct {
		Findings []struct{ Name, Severity, Where, Text, Repair string }
	}
	var out string
	// The watcher and the process table may be a moment behind.
	within(n.T, 10*time.Second, func() error {
		var code int
		if out, code = n.run(args...); code != 1 {
			return fmt.Errorf("%s: exit code %d; want 1\n%s", strings.Join(args, " "), code, out)
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		for _, f := range found.Findings {
			if f.Name == name && f.Severity == "error" && f.Repair != "" {
				return nil
			}
		}
		return fmt.Errorf("check does not find %s:\n%s", name, out)
	})
	for _, f := range found.Findings {
		n.Logf("%s %s, %s", f.Severity, f.Name, f.Where)
	}
}

// A copied is files as they were.
type copied map[string][]byte

func save(t *testing.T, files ...string) copied {
	t.Helper()
	c := copied{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if !os.IsNotExist(err) {
			check(t, err)
			c[name] = data
		}
	}
	return c
}

func (c copied) restore(t *testing.T) {
	t.Helper()
	for name, data := range c {
		write(t, name, string(data))
	}
}

// The drop-ins of bake and of another program.
const (
	dropIn       = "/etc/containerd/conf.d/mirrorcred.toml"
	overrideFile = "/etc/containerd/conf.d/zz-site.toml"
)

// unsetConfigPath takes back what bake did to containerd's configuration, and
// returns the files as they were.
func (n *bare) unsetConfigPath() copied {
	n.Helper()
	c := save(n.T, node.ContainerdConfig, dropIn)
	check(n.T, os.RemoveAll(dropIn))
	write(n.T, node.ContainerdConfig, bareConfig(n.containerd.Version))
	return c
}

// override adds a later drop-in that sets another config_path.
func (n *bare) override() {
	n.Helper()
	if strings.HasPrefix(n.containerd.Version, "2.4.") {
		write(n.T, overrideFile, "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/site'\n")
		return
	}
	// On 1.7 the table of the later file is all that counts.
	write(n.T, overrideFile, fmt.Sprintf(`version = 2
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = %q
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/site"
`, privatePause))
	n.replace(node.ContainerdConfig, "version = 2\n", "version = 2\nimports = [\""+filepath.Dir(overrideFile)+"/*.toml\"]\n")
}

// replace replaces the first place where a file says old.
func (n *bare) replace(name, old, new string) {
	n.Helper()
	data, err := os.ReadFile(name)
	check(n.T, err)
	if !strings.Contains(string(data), old) {
		n.Fatalf("%s does not say %q:\n%s", name, old, data)
	}
	info, err := os.Stat(name)
	check(n.T, err)
	check(n.T, os.WriteFile(name, []byte(strings.Replace(string(data), old, new, 1)), info.Mode()))
}

// noTokens empties the plugin's cache, as time does.
func (n *bare) noTokens() {
	n.Helper()
	files, err := filepath.Glob("/run/mirrorcred/tokens/*")
	check(n.T, err)
	for _, name := range files {
		check(n.T, os.RemoveAll(name))
	}
}
