// Package containerdconfig says what containerd makes of its configuration
// files: which config_path the kubelet's pulls use, what set it, and whether
// containerd and its CRI start at all. The release lines differ in how they
// migrate, merge and default files, so each has its own rules.
//
// The package is pure: it gets files through [Files], knows no mirror map, and
// asks no running containerd. Start at [Effective], then [Config.NotReading].
package containerdconfig

import "github.com/mirrorcred/mirrorcred/hosts/release"

// A Version is a release of containerd.
type Version = release.Version

// ParseVersion returns the version that s names, such as "1.7.35", "v2.3.4" or
// "2.2.9+unknown". "2.2" is the newest release of its line.
func ParseVersion(s string) (Version, error) { return release.Parse(s) }

// Lines returns one version for each set of rules, oldest first. If the version
// on a node is not known, all of those that start with its files must agree.
func Lines() []Version {
	var lines []Version
	for _, s := range []string{"1.7", "2.0", "2.1", "2.2.1", "2.2", "2.3.4", "2.3", "2.4"} {
		v, _ := release.Parse(s)
		lines = append(lines, v)
	}
	return lines
}

// Files gives access to the files of a node. Paths are the node's, as
// containerd spells them; an implementation may look for them below another
// root.
type Files interface {
	// ReadFile returns a file's bytes. Its error wraps fs.ErrNotExist if there is
	// no such file.
	ReadFile(path string) ([]byte, error)
	// Glob returns the files that match a pattern, by the rules and in the order
	// of filepath.Glob.
	Glob(pattern string) ([]string, error)
}

// A Namer is [Files] that a person knows by other paths than the node does, such as
// those below another root.
type Namer interface {
	// Name returns the path of a file for a person.
	Name(path string) string
}

// A Config is the part of containerd's configuration that its pulls use.
type Config struct {
	// Version is the configuration version in force. From containerd 2.3 each
	// file has its own, and this is the one that all are migrated to.
	Version int
	// ConfigPath is the value in effect, which may be the built-in default; "" if
	// there is none. It may be a list of directories, which some lines take for
	// the name of one.
	ConfigPath string
	// Set is what set ConfigPath. It is zero for the built-in default.
	Set Position
	// Sandbox is the image of the pause container as the configuration spells it,
	// or the built-in one. containerd pins an image only if its full name is this.
	Sandbox string
	// SandboxSet is what set Sandbox. It is zero for the built-in default.
	SandboxSet Position
	// Mirrors is the table of registry mirrors; with it, the CRI rejects
	// config_path. It is zero if there is no such table.
	Mirrors Position
	// NoCRI says why the CRI does not load, so that nothing is pulled; nil if
	// it loads.
	NoCRI *Reason
	// Disabled says that disabled_plugins is the only reason for NoCRI: if the
	// CRI were enabled, it would use ConfigPath.
	Disabled bool
	// Read lists everything that took part, in the order of reading.
	Read []Input

	// Logins are the registries for which containerd has a login of its own.
	Logins []HostSetting
	// LostHeaders are headers that a file sets for all registries, by their names,
	// and that containerd does not send.
	LostHeaders []HostSetting

	headers map[string][]string
	plugins func() map[string]any // their tables in effect
	lists   merged
	chance  *Reason // why two starts may read different things
	load    *load
}

// Enabled returns c as it would be if the CRI were not disabled.
func (c Config) Enabled() Config {
	if c.Disabled {
		c.NoCRI, c.Disabled = nil, false
	}
	return c
}

// A Position is where a configuration file says something.
type Position struct {
	File  string
	Line  int
	Table string // such as plugins."io.containerd.cri.v1.images".registry
}

// An Input is a file, or a pattern of imports, that took part. With a pattern,
// the directories of its matches took part too: containerd reads a file that
// appears there at its next start.
type Input struct {
	Path    string
	Pattern bool // Path holds "*"
	Missing bool // there is no such file
}

// Effective returns what containerd v makes of the main file and its imports.
// If the main file does not exist, the built-in defaults count, as if
// containerd was started without a -c flag; with that flag it would not start.
// An error is a *[StartError]: containerd does not start with these files. The
// Config then has only Read.
func Effective(files Files, main string, v Version) (Config, error) {
	l := &load{line: line{v}, files: files, main: main}
	err := l.readAll()
	if err != nil {
		return Config{Read: l.inputs}, err
	}
	c, err := l.evaluate(l.read)
	if err != nil {
		return Config{Read: l.inputs}, err
	}
	c.Read, c.load = l.inputs, l
	c.LostHeaders = l.lostHeaders(c)
	return c, nil
}
