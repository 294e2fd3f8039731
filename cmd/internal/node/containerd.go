package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkArmed returns a [NotArmedError] where no credential may be answered on
// this node. containerd's image plugin has to read exactly the directory of
// our tree: where it reads another, or none, a pull goes to the source, and the
// credential of the mirror with it. A configuration that cannot be read is
// another error: containerd does not start with it either, and one that runs
// has what it read before, which it may tell.
func (n *Node) checkArmed(c mirror.Containerd) error {
	var now running
	if !n.elsewhere {
		var err error
		if now, err = askContainerd(c.Address); err != nil {
			return err
		}
	}
	read, err := n.readContainerd(c)
	if err != nil && (!now.known || now.configPath == c.HostsDir) {
		return err
	}
	if reason := n.notArmed(c, read, now); reason != nil {
		return &NotArmedError{fmt.Errorf("%w; until then no credential is answered here", reason)}
	}
	return nil
}

// stillArmed is [Node.checkArmed] for a node whose map has a fault: what the
// last good one left is answered on, as long as containerd reads it. The state
// says where containerd is, and the routes say which trees they speak of.
func (n *Node) stillArmed(routes func() (routeFiles, error)) error {
	read, err := routes()
	if err != nil {
		return err
	}
	s, err := n.readState()
	if err != nil {
		return err
	}
	c := s.Containerd
	if c == (mirror.Containerd{}) {
		c = mirror.Containerd{Config: mirror.DefaultContainerdConfig, Address: mirror.DefaultAddress}
		if _, err := os.Stat(n.path(c.Config)); errors.Is(err, fs.ErrNotExist) {
			return nil // it is elsewhere, and a guess takes nothing away
		}
	}
	if n.inputs == nil {
		n.inputs = &inputs{address: c.Address}
	}
	for _, dir := range read.hostsDirs(c.HostsDir) {
		c.HostsDir = dir
		var unarmed *NotArmedError
		if err := n.checkArmed(c); errors.As(err, &unarmed) {
			return unarmed
		}
	}
	return nil
}

// hostsDirs returns the trees that the routes speak of, and where there are no
// routes the last one that they spoke of, if there was one.
func (r routeFiles) hostsDirs(last string) []string {
	dirs := map[string]bool{}
	for _, data := range r.data {
		if route, err := credential.DecodeRoute(data); err == nil {
			dirs[route.HostsDir] = true
		}
	}
	if len(dirs) == 0 && last != "" {
		dirs[last] = true
	}
	return slices.Sorted(maps.Keys(dirs))
}

// notArmed returns why containerd does not read our tree, or nil.
func (n *Node) notArmed(c mirror.Containerd, read containerdConfig, now running) error {
	want := fmt.Sprintf("set config_path = %q under [plugins.%q.registry] there and restart containerd", c.HostsDir, read.table())
	if err := now.check(c); err != nil {
		return err
	}
	switch {
	case !now.known:
	case now.configPath == c.HostsDir:
		return nil
	case read.configPath == c.HostsDir:
		return fmt.Errorf("the running containerd has config_path = %q although %s says %q; restart containerd", now.configPath, read.where, c.HostsDir)
	default:
		return fmt.Errorf("the running containerd has config_path = %q, which is not hosts_dir = %q; in %s %s", now.configPath, c.HostsDir, n.path(c.Config), strings.Replace(want, " there", "", 1))
	}
	switch {
	case read.mirrors != "":
		return fmt.Errorf("%s has registry.mirrors, with which containerd refuses config_path and does not pull; move them into the mirror map, for which \"mirrorcred import\" helps, and remove them", read.mirrors)
	case read.old && read.configPath != "":
		return fmt.Errorf("%s has no version or version = 1, whose tables containerd 1.x reads by other names; write version = 2 at its top, or 3 for containerd 2, and %s", read.where, want)
	case read.dropped != "":
		return fmt.Errorf("%s has a table [plugins.%q] without config_path, and containerd 1.x forgets for it what %s says; %s, or write version = \"2.0\" under [containerd] in the map where containerd is that or newer", read.dropped, read.table(), read.where, want)
	case read.configPath == c.HostsDir && now.version != "":
		return readByRunning(c.Address, read.files)
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
	files      []string // all that were read, in their order
	version    int
	merges     bool // an import's tables are merged into those before it
	old        bool // the main file is of version 1
	configPath string
	where      string // the file that sets config_path, or the main one
	dropped    string // the import that has containerd forget config_path
	stray      string // a plugin that has config_path and is not read
	mirrors    string // the file that has registry.mirrors
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

// readContainerd reads a configuration with its imports, in containerd's
// order: the main file, what it imports, what those import. A later one
// overrides an earlier one; 1.x replaces a whole plugin's table then
// (services/server/config/config.go, v1.7.35, mergeConfig).
func (n *Node) readContainerd(c mirror.Containerd) (containerdConfig, error) {
	read := containerdConfig{version: 3}
	// The map's version was held against its form before.
	version, _ := hosts.ParseVersion(c.Version)
	read.merges = version != hosts.Version{} && !strings.HasPrefix(version.String(), "1.")
	main := n.path(c.Config)
	n.inputs.containerd = nil
	pending, seen := []string{main}, map[string]bool{}
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		n.inputs.containerd = append(n.inputs.containerd, name)
		read.files = append(read.files, name)
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && name == main {
			return read, nil
		}
		if err != nil {
			return read, describe(err)
		}
		imports, err := read.add(name, data, name == main)
		if err != nil {
			return read, err
		}
		for _, pattern := range imports {
			n.inputs.containerd = append(n.inputs.containerd, n.importPattern(name, pattern))
			files, err := n.imported(name, pattern)
			if err != nil {
				return read, err
			}
			pending = append(pending, files...)
		}
	}
	return read, nil
}

// imported returns the files that an entry of imports names.
func (n *Node) imported(by, pattern string) ([]string, error) {
	files, err := filepath.Glob(n.importPattern(by, pattern))
	if err != nil {
		return nil, fmt.Errorf("%s: imports %q: %w", by, pattern, err)
	}
	return files, nil
}

// importPattern returns where an entry of imports leads on this machine.
func (n *Node) importPattern(by, pattern string) string {
	if filepath.IsAbs(pattern) {
		return n.path(pattern)
	}
	return filepath.Join(filepath.Dir(by), pattern)
}

// add reads one file over what came before, and returns its imports.
func (c *containerdConfig) add(name string, data []byte, main bool) ([]string, error) {
	type plugin struct {
		Registry struct {
			ConfigPath string         `toml:"config_path"`
			Mirrors    map[string]any `toml:"mirrors"`
		} `toml:"registry"`
	}
	var config struct {
		Version int      `toml:"version"`
		Imports []string `toml:"imports"`
		Plugins struct {
			CRI    *plugin `toml:"io.containerd.grpc.v1.cri"`
			Images *plugin `toml:"io.containerd.cri.v1.images"`
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal(data, &config); err != nil {
		return nil, tomlFault(name, err)
	}
	version := config.Version
	if main {
		c.version, c.where, c.old = max(version, 2), name, version < 2
	} else if version == 0 {
		version = c.version
	}
	read, other, stray := config.Plugins.Images, config.Plugins.CRI, criPlugin
	if version <= 2 {
		read, other, stray = other, read, imagesPlugin
	}
	switch {
	case read != nil && len(read.Registry.Mirrors) > 0:
		c.mirrors = name
	case read != nil && read.Registry.ConfigPath != "":
		c.configPath, c.where, c.stray, c.dropped = read.Registry.ConfigPath, name, "", ""
	case read != nil && c.configPath != "" && version <= 2 && !c.merges:
		c.dropped = name
	case other != nil && other.Registry.ConfigPath != "" && c.configPath == "":
		c.stray, c.where = stray, name
	}
	return config.Imports, nil
}

func tomlFault(name string, err error) error {
	line := 0
	var at *toml.DecodeError
	if errors.As(err, &at) {
		line, _ = at.Position()
	}
	return &mirror.Fault{File: name, Line: line, Text: "containerd's configuration is not TOML: " + err.Error()}
}
