package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A setting is a way in which containerd may be configured on a node that
// "mirrorcred apply" finds.
type setting struct {
	name  string
	main  string            // config.toml; "" for the usual one
	files map[string]string // others in /etc/containerd; REGISTRY and CRI are tables
	later string            // config.toml once containerd runs; "" for the same
	armed bool              // credentials may be answered
	fails bool              // containerd does not serve the CRI with it
	only  string            // the versions that it is for, each by its beginning; "" for all
}

// Lines that set config_path.
const (
	elsewhere = "config_path = \"/etc/containerd/elsewhere\"\n"
	ours      = "config_path = \"" + node.HostsDir + "\"\n"
)

var settings = []setting{
	{name: "ours", armed: true},
	{name: "containerd's default", main: "version = VERSION\n"},
	{name: "no table at all", main: "version = VERSION\n[CRI]\n", only: "2"},
	{name: "ours since it started", main: "version = VERSION\n", later: "version = VERSION\n[REGISTRY]\n" + ours},
	{name: "another directory", main: "version = VERSION\n[REGISTRY]\n" + elsewhere},
	{name: "a list", main: "version = VERSION\n[REGISTRY]\nconfig_path = \"" + node.HostsDir + ":/etc/docker/certs.d\"\n"},
	{name: "mirrors beside it", main: "version = VERSION\n[REGISTRY]\n" + ours + "[REGISTRY.mirrors.\"quay.io\"]\nendpoint = [\"https://quay.io\"]\n", fails: true},
	{name: "an import overrides", main: "version = VERSION\nimports = [\"conf.d/*.toml\"]\n[REGISTRY]\n" + ours,
		files: map[string]string{"conf.d/a.toml": "version = VERSION\n[REGISTRY]\n" + elsewhere}},
	{name: "an import sets it", main: "version = VERSION\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", armed: true,
		files: map[string]string{"conf.d/a.toml": "version = VERSION\n[REGISTRY]\n" + ours}},
	// containerd reads what an import imports after what is beside that
	// import.
	{name: "an import's import overrides", main: "version = VERSION\nimports = [\"a.toml\", \"b.toml\"]\n[REGISTRY]\n" + ours,
		files: map[string]string{
			"a.toml": "version = VERSION\nimports = [\"c.toml\"]\n",
			"b.toml": "version = VERSION\n[REGISTRY]\n" + ours,
			"c.toml": "version = VERSION\n[REGISTRY]\n" + elsewhere,
		}},
	// 1.7 takes a plugin's table in an import for the whole of it.
	{name: "an import has another setting", main: "version = VERSION\nimports = [\"a.toml\"]\n[REGISTRY]\n" + ours, only: "1.7",
		files: map[string]string{"a.toml": "version = VERSION\n[CRI]\nmax_container_log_line_size = 1024\n"}},
	{name: "an import has another setting", main: "version = VERSION\nimports = [\"a.toml\"]\n[REGISTRY]\n" + ours, only: "2", armed: true,
		files: map[string]string{"a.toml": "version = VERSION\n[CRI]\nmax_concurrent_downloads = 3\n"}},
	// If the configuration's newest version is 4, as in 2.4, a file of
	// version 3 is migrated, and this table with it.
	{name: "the table of containerd 1", main: "version = VERSION\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" + ours, only: "2.4", armed: true},
	{name: "the table of containerd 1", main: "version = VERSION\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" + ours, only: "2.0 2.1 2.2"},
	{name: "a file of containerd 1", main: "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" + ours, only: "2", armed: true},
}

// Credentials may be answered only if containerd reads mirrorcred's tree: otherwise
// it would show the mirror's credential to the source. If "mirrorcred
// apply" says that it does, it does; if not, the plugin has no answer.
func TestArmed(t *testing.T) {
	for _, version := range versions() {
		for _, s := range settings {
			if !s.isFor(version) {
				continue
			}
			t.Run(version+"/"+strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) { s.check(t, version) })
		}
	}
}

func (s setting) isFor(version string) bool {
	return s.only == "" || slices.ContainsFunc(strings.Fields(s.only), func(line string) bool { return strings.HasPrefix(version, line) })
}

func (s setting) check(t *testing.T, version string) {
	freshNode(t)
	t.Cleanup(func() { os.RemoveAll("/etc/containerd/conf.d") })
	for name, text := range s.files {
		write(t, "/etc/containerd/"+name, tables(version, text))
	}
	config := tables(version, s.main)
	if s.main == "" {
		config = node.Config(version, node.HostsDir, pauseImage)
	}
	if s.fails {
		write(t, node.ContainerdConfig, config)
		s.refused(t)
		return
	}
	c := startContainerdAt(t, version, config, node.Place{})
	if s.later != "" {
		write(t, node.ContainerdConfig, tables(version, s.later))
	}
	const image = "mcr.microsoft.com/armed/app"
	if _, err := world.acr[contoso].PushRandom("armed/app", "1"); err != nil {
		t.Fatal(err)
	}

	if !s.armed {
		s.refused(t)
		return
	}
	apply(t, oneMirror, 0)
	if err := pull(t.Context(), c, image, "1"); err != nil {
		t.Error(err)
	}
	credited(t, contoso, "armed/app")
	silent(t, "mcr.microsoft.com")
}

// refused checks that apply says what to change, and that nothing is answered.
func (s setting) refused(t *testing.T) {
	if said := apply(t, oneMirror, 1); !strings.Contains(said, "config_path") && !strings.Contains(said, "restart containerd") {
		t.Errorf("mirrorcred apply does not say what to change:\n%s", said)
	}
	if list, err := answer(t.Context(), "mcr.microsoft.com/armed/app"); err == nil && len(list) > 0 {
		t.Error("the plugin has a credential for the source")
	}
}

// tables writes the names of a version's tables into a configuration.
func tables(version, text string) string {
	number, plugin := "3", "plugins.'io.containerd.cri.v1.images'"
	if strings.HasPrefix(version, "1.") {
		number, plugin = "2", `plugins."io.containerd.grpc.v1.cri"`
	}
	return strings.NewReplacer("VERSION", number, "REGISTRY", plugin+".registry", "CRI", plugin).Replace(text)
}
