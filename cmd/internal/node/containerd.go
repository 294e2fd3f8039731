package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkArmed returns why no credential may be answered on this node, or nil.
// containerd's image plugin has to read exactly the directory of our tree:
// where it reads another, or none, a pull goes to the source, and the
// credential of the mirror with it.
func (n *Node) checkArmed(c mirror.Containerd) error {
	read, err := n.readContainerd(c.Config)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("set config_path = %q under [plugins.%q.registry] there and restart containerd", c.HostsDir, read.table())
	if !n.elsewhere() {
		now, err := askContainerd(c.Address)
		if err == nil {
			err = now.check(c)
		}
		switch {
		case err != nil:
			return err
		case !now.known:
		case now.configPath == c.HostsDir:
			return nil
		case read.configPath == c.HostsDir:
			return fmt.Errorf("the running containerd has config_path = %q although %s says %q; restart containerd", now.configPath, read.where, c.HostsDir)
		default:
			return fmt.Errorf("the running containerd has config_path = %q, which is not hosts_dir = %q; in %s %s", now.configPath, c.HostsDir, n.path(c.Config), strings.Replace(want, " there", "", 1))
		}
	}
	switch {
	case read.mirrors != "":
		return fmt.Errorf("%s has registry.mirrors, with which containerd refuses config_path and does not pull; move them into the mirror map, for which \"mirrorcred import\" helps, and remove them", read.mirrors)
	case read.replaced != "":
		return fmt.Errorf("%s has the table [plugins.%q] without registry.config_path, and containerd 1.7 drops what %s says of it; repeat config_path = %q there and restart containerd", read.replaced, criPlugin, read.where, c.HostsDir)
	case read.configPath == c.HostsDir:
		return nil
	case read.configPath != "":
		return fmt.Errorf("containerd reads config_path = %q (%s), which is not hosts_dir = %q; %s", read.configPath, read.where, c.HostsDir, want)
	case read.stray != "":
		return fmt.Errorf("%s sets config_path under [plugins.%q.registry], where containerd does not look for it with version = %d; %s", read.where, read.stray, read.version, want)
	case c.ConfigPath == c.HostsDir:
		return nil
	case c.ConfigPath != "":
		return fmt.Errorf("the map says that containerd's config_path is %q, which is not hosts_dir = %q; make them one", c.ConfigPath, c.HostsDir)
	case read.where == "":
		return fmt.Errorf("%s is not there, so containerd's config_path is not known; %s, or write config_path under [containerd] in the map where it is set in another way", n.path(c.Config), want)
	}
	return fmt.Errorf("%s sets no config_path, and containerd's own default reads no hosts.toml of ours: with some versions none, with others a list of directories; %s", read.where, want)
}

// check refuses a map that is rendered for a later containerd than the one that
// runs: it may refuse such files, and would then ask the source.
func (r running) check(c mirror.Containerd) error {
	runs, err := hosts.ParseVersion(r.version)
	if err != nil {
		return fmt.Errorf("the running containerd: %w", err)
	}
	wanted, err := hosts.ParseVersion(c.Version)
	if err == nil && runs.OlderLine(wanted) {
		return fmt.Errorf("containerd %s runs, and the map says version = %q under [containerd], of which it may refuse the files; write %q, or leave the key out", r.version, c.Version, runs)
	}
	return nil
}

// A containerdConfig is what matters to us in containerd's configuration.
type containerdConfig struct {
	version    int
	configPath string
	where      string // the file that sets config_path, or the main one
	stray      string // a plugin that has config_path and is not read
	mirrors    string // the file that has registry.mirrors
	replaced   string // the file with which containerd 1.7 loses configPath
}

// The plugins that hold the registry configuration: containerd 1.x and its
// configuration version 2, and 2.x with version 3 and later
// (containerd docs/cri/config.md).
const (
	criPlugin    = "io.containerd.grpc.v1.cri"
	imagesPlugin = "io.containerd.cri.v1.images"
)

func (c containerdConfig) table() string {
	if c.version == 2 {
		return criPlugin
	}
	return imagesPlugin
}

// readContainerd reads a configuration with its imports, of which a later one
// overrides an earlier one.
func (n *Node) readContainerd(path string) (containerdConfig, error) {
	c := containerdConfig{version: 3}
	files, err := n.containerdFiles(n.path(path))
	if err != nil {
		return c, err
	}
	for i, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			return c, nil
		}
		if err != nil {
			return c, describe(err)
		}
		if err := c.add(name, data, i == 0); err != nil {
			return c, err
		}
	}
	return c, nil
}

// containerdFiles returns a configuration file and those that it imports, in
// the order in which containerd reads them: what a file imports comes after all
// that stands beside that file (LoadConfig in v1.7.35,
// services/server/config/config.go, and in v2.4.2, cmd/containerd/server/config).
func (n *Node) containerdFiles(name string) ([]string, error) {
	files := []string{name}
	for i := 0; i < len(files); i++ {
		imports, err := n.containerdImports(files[i])
		if err != nil {
			return nil, err
		}
		for _, name := range imports {
			if !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
	}
	return files, nil
}

// containerdImports returns the files that one file imports; none where it is
// not there.
func (n *Node) containerdImports(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	var config struct {
		Imports []string `toml:"imports"`
	}
	if err := toml.Unmarshal(data, &config); err != nil {
		return nil, tomlFault(name, err)
	}
	var files []string
	for _, pattern := range config.Imports {
		if filepath.IsAbs(pattern) {
			pattern = n.path(pattern)
		} else {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: imports %q: %w", name, pattern, err)
		}
		files = append(files, matches...)
	}
	return files, nil
}

// add reads one file over what came before.
func (c *containerdConfig) add(name string, data []byte, main bool) error {
	type plugin struct {
		Registry struct {
			ConfigPath string         `toml:"config_path"`
			Mirrors    map[string]any `toml:"mirrors"`
		} `toml:"registry"`
	}
	var config struct {
		Version int `toml:"version"`
		Plugins struct {
			CRI    *plugin `toml:"io.containerd.grpc.v1.cri"`
			Images plugin  `toml:"io.containerd.cri.v1.images"`
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal(data, &config); err != nil {
		return tomlFault(name, err)
	}
	version := max(config.Version, 2)
	if main {
		c.version, c.where = version, name
	}
	hasCRI := config.Plugins.CRI != nil
	if !hasCRI {
		config.Plugins.CRI = new(plugin)
	}
	read, other, stray := config.Plugins.Images.Registry, config.Plugins.CRI.Registry, criPlugin
	if version == 2 {
		read, other, stray = other, read, imagesPlugin
	}
	// containerd 1.7 takes a plugin's table in an import for the whole of it;
	// 2.x, which reads such files too, lays it over the others.
	if version == 2 && hasCRI {
		c.replaced = ""
		if read.ConfigPath == "" && c.configPath != "" {
			c.replaced = name
		}
	}
	if len(read.Mirrors) > 0 {
		c.mirrors = name
	}
	switch {
	case read.ConfigPath != "":
		c.configPath, c.where, c.stray = read.ConfigPath, name, ""
	case other.ConfigPath != "" && c.configPath == "":
		c.stray, c.where = stray, name
	}
	return nil
}

func tomlFault(name string, err error) error {
	line := 0
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, _ = at.Position()
	}
	return &mirror.Fault{File: name, Line: line, Text: "containerd's configuration is not TOML: " + err.Error()}
}
