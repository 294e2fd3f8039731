package containerdconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// evaluateTwo merges and migrates as containerd 2.x does. A file without a
// version may name the CRI plugin in both ways. Which of the two tables is kept
// then changes from one start to the next, because containerd ranges over a map,
// so each choice is tried.
func (l *load) evaluateTwo(files []*file) (Config, error) {
	m := merger{load: l}
	c, err := m.evaluate(files)
	isSure := len(m.twice) <= maxTwice
	for choice := 1; isSure && choice < 1<<len(m.twice); choice++ {
		other := merger{load: l, keepsFull: choice}
		d, errOther := other.evaluate(files)
		isSure = (err == nil) == (errOther == nil) && c.ConfigPath == d.ConfigPath && (c.NoCRI == nil) == (d.NoCRI == nil) && c.Disabled == d.Disabled
		if !isSure && err != nil {
			c, err = d, errOther
		}
	}
	if !isSure {
		c.chance = l.reason(m.twice[0], "which table "+l.line.String()+" reads is chance", "remove one of the two tables",
			"is beside [plugins.cri] in a file without a version, and which of them is read changes from one start to the next").named(WrongTable)
	}
	return c, err
}

// maxTwice is how many files may name the CRI plugin in both ways before not
// every choice is tried.
const maxTwice = 4

// A merger merges the files of containerd 2.x. Before 2.3 all files are merged
// and the result is migrated once; from then on each file is migrated by itself
// (cmd/containerd/server/config/config.go, v2.2.9 and v2.4.2).
type merger struct {
	*load
	merged
	plugins   map[string]*node
	root      int        // the first version that a file names
	keepsFull int        // a bit for each of twice: the full name of the CRI plugin is kept
	twice     []Position // where a file has both
}

func (m *merger) evaluate(files []*file) (Config, error) {
	m.plugins, m.version = map[string]*node{}, m.line.highest()
	for _, f := range files {
		if err := m.add(f); err != nil {
			return Config{}, err
		}
	}
	if err := m.check(); err != nil {
		return Config{}, err
	}
	if m.version < 2 { // containerd took a negative version for one to migrate to
		m.rename(m.plugins)
	}
	if m.version < 3 {
		// A disabled plugin migrates nothing.
		if err := m.migrate(m.plugins); err != nil && m.whyDisabled(m.disabled, imagesPlugin) == nil {
			return Config{}, err
		}
	}
	c := Config{Version: m.version, lists: m.merged, plugins: func() map[string]any {
		plain, _ := (&node{table: m.plugins}).plain().(map[string]any)
		return plain
	}}
	err := m.readTwo(&c, &m.merged, m.plugins)
	return c, err
}

// add migrates a file as far as its line does that before merging, and merges it.
func (m *merger) add(f *file) error {
	if m.root == 0 {
		m.root = f.version
	}
	if err := m.checkVersion(f); err != nil {
		return err
	}
	own, lists := cloneTable(f.plugins), *f
	isEarly := f.version == 0 || f.version == 1
	if m.line.migratesEach() && f.version == 0 { // it is migrated as version 0 and as 1
		if err := m.migrate(own); err != nil {
			return err
		}
	}
	if isEarly && m.version >= 2 {
		m.rename(own)
		lists.disabled, lists.required = fullNames(f.disabled), fullNames(f.required)
	}
	if m.line.migratesEach() && f.version <= 3 {
		if err := m.migrate(own); err != nil {
			return err
		}
	}
	if at := merge(m.plugins, own); at != nil {
		return m.noStart(at.at, "remove it, or make it what the earlier file has", "has a date or time where an earlier file has another kind of value")
	}
	m.addLists(&lists)
	switch {
	case m.line.migratesEach() && f.version <= 4, f.version == 0, f.version == 1 && m.version > 0:
		// It was brought to the version in force.
	default:
		m.version, m.versionAt = f.version, Position{File: f.path, Line: f.lines("version")}
	}
	return nil
}

// checkVersion refuses a file whose migration containerd does not survive.
func (m *merger) checkVersion(f *file) error {
	at := Position{File: f.path, Line: f.lines("version")}
	switch {
	case f.version < 0 && m.line.migratesEach():
		return m.noStart(at, "write version = 2", fmt.Sprintf("has version = %d", f.version))
	case f.version > m.root && m.line.refusesNewerImports():
		return m.noStart(at, fmt.Sprintf("write version = %d in %s too", f.version, m.name(m.main)),
			fmt.Sprintf("has version = %d, which is above the main file's %d", f.version, m.root))
	case (f.version == 0 || f.version == 1) && m.version > 3 && !m.line.migratesEach():
		return m.noStart(at, "write version = 3 in it", fmt.Sprintf("has no version after %s with version = %d", m.name(m.versionAt.File), m.version))
	}
	return nil
}

// check holds what containerd 2.x refuses once all files are merged.
func (m *merger) check() error {
	if m.version > m.line.highest() {
		return m.noStart(m.versionAt, fmt.Sprintf("write version = %d and the tables of that version, or update containerd", m.line.highest()),
			fmt.Sprintf("has version = %d, above the highest it reads, %d", m.version, m.line.highest()))
	}
	if m.version < 0 {
		return m.noStart(m.versionAt, "write version = 2", fmt.Sprintf("has version = %d", m.version))
	}
	for _, e := range slices.Concat(m.disabled, m.required) {
		if !strings.Contains(e.name, ".") {
			return m.noStart(e.at, "write it like \""+criPlugin+"\"", fmt.Sprintf("lists the plugin %q, which is not a full name", e.name))
		}
	}
	return m.checkTimeouts(&m.merged)
}

// rename gives the CRI plugin of a file without a version its full name.
func (m *merger) rename(plugins map[string]*node) {
	early, full := plugins[earlyPlugin], plugins[criPlugin]
	if early == nil {
		return
	}
	delete(plugins, earlyPlugin)
	if full != nil {
		m.twice = append(m.twice, full.at)
		if m.keepsFull&(1<<(len(m.twice)-1)) != 0 {
			return
		}
	}
	plugins[criPlugin] = early
}

// fullNames returns the full names of plugins listed in a file without a version.
func fullNames(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		switch {
		case name == earlyPlugin:
			names[i] = criPlugin
		case !strings.Contains(name, "."):
			names[i] = "io.containerd.grpc.v1." + name // or another type, which does not matter here
		}
	}
	return names
}

// readTwo decodes the plugins of the CRI and says whether they load.
func (l *load) readTwo(c *Config, m *merged, plugins map[string]*node) error {
	var images imagesTwo
	images.PullProgressTimeout = "5m0s"
	images.PinnedImages = map[string]string{"sandbox": l.line.sandbox()}
	if l.line.startsWithList() {
		images.Registry.ConfigPath = defaultList
	}
	runtime := newRuntimePlugin()
	imageParts := []any{&images}
	if !l.line.Before(2, 1, 0) {
		imageParts = append(imageParts, &imagesFrom21{})
	}
	for _, p := range []struct {
		name string
		into []any
	}{{imagesPlugin, imageParts}, {runtimePlugin, runtime.parts(l.line)}, {criPlugin, []any{&serverTwo{}}}} {
		for _, into := range p.into {
			// A disabled plugin's table is not decoded.
			if err := l.decodePlugin(plugins[p.name], into, p.name); err != nil && l.whyDisabled(m.disabled, p.name) == nil {
				return err
			}
		}
	}
	registry := &images.Registry
	if registry.ConfigPath == "" && len(registry.Mirrors) == 0 && l.line.defaultsToList() {
		registry.ConfigPath = defaultList
	}
	c.ConfigPath = registry.ConfigPath
	for _, n := range plugins[imagesPlugin].any("registry", "config_path") {
		if n.value == c.ConfigPath && c.ConfigPath != "" {
			c.Set = n.at
		}
	}
	c.Sandbox = images.PinnedImages["sandbox"]
	for _, n := range plugins[imagesPlugin].any("pinned_images", "sandbox") {
		if n.value == c.Sandbox {
			c.SandboxSet = n.at
		}
	}
	l.besidesTwo(c, &images, plugins[imagesPlugin])
	c.NoCRI = l.refusalTwo(c, &images, runtime, plugins)
	if c.NoCRI == nil {
		c.NoCRI = l.whyDisabled(m.disabled, criPlugin, imagesPlugin, runtimePlugin)
		c.Disabled = c.NoCRI != nil
	}
	return l.checkRequired(m, c.NoCRI, criPlugin, imagesPlugin, runtimePlugin)
}

// refusalTwo says why the CRI's own checks keep it from loading, or nil.
func (l *load) refusalTwo(c *Config, images *imagesTwo, runtime *runtimePluginTwo, plugins map[string]*node) *Reason {
	last := func(n *node, key ...string) Position {
		at := Position{File: l.main}
		if n != nil {
			at = n.at
		}
		for _, found := range n.any(key...) {
			at = found.at
		}
		return at
	}
	if len(images.Registry.Mirrors) > 0 {
		c.Mirrors = last(plugins[imagesPlugin], "registry", "mirrors")
	}
	if key, why := images.Registry.refusal(); why != "" {
		at := last(plugins[imagesPlugin], "registry", key)
		r := l.noCRI(at, "remove the table ["+at.Table+"]", why)
		if key == "mirrors" {
			r.Name, r.Repair = MirrorsBeside, l.importFirst(at.File)+r.Repair
		}
		return r
	}
	if !isDuration(images.PullProgressTimeout) {
		at := last(plugins[imagesPlugin], "image_pull_progress_timeout")
		return l.noCRI(at, "write one like \"5m0s\"", fmt.Sprintf("has image_pull_progress_timeout = %q, which is not a duration", images.PullProgressTimeout))
	}
	if key, why, repair := runtime.refusal(); why != "" {
		return l.noCRI(last(plugins[runtimePlugin], key...), repair, why)
	}
	return nil
}

// decodePlugin decodes a plugin's table as containerd does, which writes the
// merged one out and reads it back.
func (l *load) decodePlugin(n *node, into any, name string) error {
	if n == nil {
		return nil
	}
	for {
		data, err := toml.Marshal(n.plain())
		if err == nil {
			err = toml.Unmarshal(data, into)
		}
		if err == nil {
			return nil
		}
		at, what := n.at, "a value"
		var wrong *toml.DecodeError
		if errors.As(err, &wrong) && len(wrong.Key()) > 0 {
			if pruned := l.withoutEmpty(n, wrong); pruned != nil {
				n = pruned
				continue
			}
			what = tableName(wrong.Key()[len(wrong.Key())-1:])
			for _, found := range n.any(lower(wrong.Key())...) {
				at = found.at
			}
		}
		return l.noStart(at, "correct the value", fmt.Sprintf("has %s of another type than plugin %s reads", what, name))
	}
}

// withoutEmpty returns a plugin's table without an empty table that stands where
// a string, number or bool is read. The TOML library of containerd before 2.4
// takes no notice of one (go-toml 2.2.3 to 2.3.0). It returns nil if that is not
// what is wrong.
func (l *load) withoutEmpty(n *node, wrong *toml.DecodeError) *node {
	if !l.line.Before(2, 4, 0) || strings.Contains(wrong.Error(), "slice") {
		return nil
	}
	key := wrong.Key()
	found := n.get(key...)
	if found == nil || found.table == nil || len(found.table) > 0 {
		return nil
	}
	n = n.clone()
	delete(n.get(key[:len(key)-1]...).table, key[len(key)-1])
	return n
}

func lower(keys []string) []string {
	keys = slices.Clone(keys)
	for i, k := range keys {
		keys[i] = strings.ToLower(k)
	}
	return keys
}
