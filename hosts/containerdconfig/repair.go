package containerdconfig

import (
	"fmt"
	"slices"

	early "github.com/pelletier/go-toml"
)

// An edit sets config_path in one table of one file.
type edit struct {
	file    string
	plugin  string
	value   string
	version int // of a file that the edit creates
}

func (e edit) table() string { return tableName([]string{"plugins", e.plugin, "registry"}) }

// says says what to write for an edit, and in which file.
func (l *load) says(e edit) string {
	text := fmt.Sprintf("set config_path = %q under [%s] in %s", e.value, e.table(), l.name(e.file))
	if e.version != 0 {
		text = fmt.Sprintf("create %s with version = %d, and config_path = %q under [%s]", l.name(e.file), e.version, e.value, e.table())
	}
	return text
}

// repair returns the edit after which containerd reads dir. It tries them by the
// rules themselves, so what it returns does repair. If none does because the CRI
// then refuses to load, it returns the reason for that.
func (l *load) repair(dir string, first []string) (*edit, *Reason) {
	if len(l.read) == 0 {
		return l.create(dir), nil
	}
	var refused *Reason
	for _, name := range l.byPreference(first) {
		for _, plugin := range l.tables(name) {
			e := edit{file: name, plugin: plugin, value: dir}
			c, err := l.evaluate(l.with(e))
			switch {
			case err != nil:
			case c.NoCRI != nil:
				if refused == nil {
					refused = c.NoCRI
				}
			case c.chance == nil && IsDir(c.ConfigPath, dir):
				return &e, nil
			}
		}
	}
	return nil, refused
}

// create returns the edit for a node that has no configuration file.
func (l *load) create(dir string) *edit {
	e := &edit{file: l.main, plugin: imagesPlugin, value: dir, version: 3}
	if l.line.isOne() {
		e.plugin, e.version = criPlugin, 2
	}
	return e
}

// byPreference returns the files that were read: those named first, then the
// main file, then the others from the last on.
func (l *load) byPreference(first []string) []string {
	names := slices.Clone(first)
	names = append(names, l.read[0].path)
	for _, f := range slices.Backward(l.read) {
		names = append(names, f.path)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

// tables returns the plugins whose table may be edited: those that the file has
// come first.
func (l *load) tables(name string) []string {
	all := []string{imagesPlugin, criPlugin, earlyPlugin}
	if l.line.isOne() {
		all = all[1:]
	}
	i := slices.IndexFunc(l.read, func(f *file) bool { return f.path == name })
	var has, lacks []string
	for _, plugin := range all {
		if l.read[i].hasPlugin(plugin) {
			has = append(has, plugin)
		} else {
			lacks = append(lacks, plugin)
		}
	}
	return append(has, lacks...)
}

func (f *file) hasPlugin(name string) bool {
	_, one := f.trees[name]
	return one || f.plugins[name] != nil
}

// with returns the files as they are after an edit.
func (l *load) with(e edit) []*file {
	files := slices.Clone(l.read)
	for i, f := range files {
		if f.path != e.file {
			continue
		}
		edited := *f
		if l.line.isOne() {
			edited.trees = f.editOne(e)
		} else {
			edited.plugins = cloneTable(f.plugins)
			registry := child(child(edited.plugins, e.plugin, Position{}), "registry", Position{})
			registry["config_path"] = &node{at: Position{File: f.path, Table: e.table()}, value: e.value}
		}
		files[i] = &edited
	}
	return files
}

// editOne decodes the file again, because a tree of go-toml 1 cannot be copied.
func (f *file) editOne(e edit) map[string]early.Tree {
	trees := map[string]early.Tree{}
	whole, err := early.LoadBytes(f.data)
	if err != nil {
		return f.trees
	}
	for name := range f.trees {
		if tree, ok := whole.GetPath([]string{"plugins", name}).(*early.Tree); ok {
			trees[name] = *tree
		}
	}
	tree, ok := trees[e.plugin]
	if !ok {
		empty, _ := early.TreeFromMap(nil)
		tree = *empty
	}
	if _, isTable := tree.Get("registry").(*early.Tree); !isTable {
		_ = tree.Delete("registry")
	}
	tree.SetPath([]string{"registry", "config_path"}, e.value)
	trees[e.plugin] = tree
	return trees
}
