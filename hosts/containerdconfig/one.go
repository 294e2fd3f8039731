package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// evaluateOne merges as containerd 1.x does: a plugin's table replaces that of
// an earlier file, and nothing is migrated
// (services/server/config/config.go, v1.7.35).
func (l *load) evaluateOne(files []*file) (Config, error) {
	var m merged
	plugins := map[string]*file{}
	for _, f := range files {
		m.addLists(f)
		if f.version != 0 {
			m.version, m.versionAt = f.version, Position{File: f.path, Line: f.lines("version")}
		}
		for name := range f.trees {
			plugins[name] = f
		}
	}
	if err := l.checkOne(&m, plugins); err != nil {
		return Config{}, err
	}
	c := Config{Version: max(m.version, 1), lists: m, plugins: func() map[string]any {
		all := map[string]any{}
		for name, f := range plugins {
			tree := f.trees[name]
			all[name] = tree.ToMap()
		}
		return all
	}}
	name := criPlugin
	if m.version == 0 || m.version == 1 {
		name = earlyPlugin
	}
	// A disabled plugin's table is not decoded.
	if err := l.readOne(&c, plugins[name], name); err != nil && l.whyDisabled(m.disabled, name) == nil {
		return c, err
	}
	if c.NoCRI == nil {
		c.NoCRI = l.whyDisabled(m.disabled, name)
		c.Disabled = c.NoCRI != nil
	}
	return c, l.checkRequired(&m, c.NoCRI, name)
}

// checkOne holds what containerd 1.x refuses in a file of version 2.
func (l *load) checkOne(m *merged, plugins map[string]*file) error {
	if m.version < 2 {
		return l.checkTimeouts(m)
	}
	if m.version > 2 {
		return l.noStart(m.versionAt, "write version = 2 and the tables of that version, or update containerd",
			fmt.Sprintf("has version = %d, above the highest it reads, 2", m.version))
	}
	isURI := func(s string) bool {
		return strings.HasPrefix(s, "io.containerd.") && len(strings.SplitN(s, ".", 4)) == 4
	}
	for _, e := range slices.Concat(m.disabled, m.required) {
		if !isURI(e.name) {
			return l.noStart(e.at, "write it like \""+criPlugin+"\"", fmt.Sprintf("lists the plugin %q, which is not a full name", e.name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		if !isURI(name) {
			f := plugins[name]
			return l.noStart(Position{f.path, f.lines("plugins", name), tableName([]string{"plugins", name})},
				"write it like \""+criPlugin+"\"", fmt.Sprintf("has the plugin %q, which is not a full name", name))
		}
	}
	return l.checkTimeouts(m)
}

// readOne reads the CRI plugin's table of the file that has it.
func (l *load) readOne(c *Config, f *file, name string) error {
	cri := criOne{
		Containerd:   containerdOne{DefaultRuntimeName: "runc", Runtimes: map[string]runtimeOne{"runc": {}}},
		SandboxImage: l.line.sandbox(),
	}
	c.Sandbox = cri.SandboxImage
	if f == nil {
		return nil
	}
	key := []string{"plugins", name}
	at := func(more ...string) Position {
		full := append(slices.Clone(key), more...)
		return Position{f.path, f.lines(full...), tableName(full)}
	}
	tree := f.trees[name]
	if err := decodeOne(&tree, &cri); err != nil {
		return l.noStart(at(), "correct the value", "does not decode: "+err.Error())
	}
	if c.ConfigPath = cri.Registry.ConfigPath; c.ConfigPath != "" {
		c.Set = at("registry", "config_path")
		c.Set.Table = tableName(append(key, "registry"))
	}
	c.Sandbox = cri.SandboxImage
	if tree.Has("sandbox_image") {
		c.SandboxSet = at("sandbox_image")
		c.SandboxSet.Table = tableName(key)
	}
	if len(cri.Registry.Mirrors) > 0 {
		c.Mirrors = at("registry", "mirrors")
	}
	besides(c, &cri.Registry, at)
	refused, why := cri.refusal()
	if why == "" {
		return nil
	}
	where := at(refused...)
	repair := "remove the table [" + where.Table + "]"
	if slices.Equal(refused, defaultRuntimeName) {
		where.Table = tableName(append(key, "containerd"))
		repair = "add the runtime, or name another one in default_runtime_name"
	}
	c.NoCRI = l.noCRI(where, repair, why)
	if slices.Contains(refused, "registry") && !slices.Contains(refused, "auths") {
		c.NoCRI.Name, c.NoCRI.Repair = MirrorsBeside, l.importFirst(where.File)+repair
	}
	return nil
}
