package config

import (
	"path"
	"slices"
	"strings"
)

// disturb changes one thing of a tree.
func (g *Generator) disturb(t *Tree) {
	names := t.names()
	if len(names) == 0 {
		return
	}
	name := pick(g, names...)
	f := t.Files[name]
	if f.Table == nil {
		return
	}
	switch g.rnd.IntN(16) {
	case 0, 1, 2:
		g.addOther(f)
	case 3:
		g.addRegistry(f, pick(g, oldPlugin, imagesPlugin, "cri"))
	case 4:
		f.Table["version"] = int64(pick(g, 2, 3, 2, 3, 4, 1))
	case 5:
		delete(f.Table, "version")
	case 6, 7:
		g.addImport(t, name)
	case 8:
		g.respell(t, f)
	case 9:
		if g.chance(3) {
			f.Mark, t.Marks["byte order mark"] = true, true
		}
	case 10:
		g.moveBehindLink(t, name)
	case 11:
		if g.chance(3) {
			g.mistake(f)
		}
	case 12:
		g.tear(t, f)
	case 13:
		g.addSetting(f)
		t.Marks["another setting"] = true
	case 14:
		if g.chance(2) {
			g.scramble(f)
			t.Marks["scrambled"] = true
		}
	}
}

// addImport has a file import one more.
func (g *Generator) addImport(t *Tree, name string) {
	f := t.Files[name]
	before, _ := f.Table["imports"].([]any)
	entry := g.imported(t, name, mood{versions: []int{2, 3, 2, 3, 0, 4}, plugin: pick(g, oldPlugin, imagesPlugin)})
	f.Table["imports"] = append(slices.Clone(before), entry)
}

// moveBehindLink leaves a link where a file was.
func (g *Generator) moveBehindLink(t *Tree, name string) {
	moved := "/srv" + name
	if t.Files[moved] != nil || g.under(t, moved) || strings.HasPrefix(name, "/srv") {
		return
	}
	t.Files[moved] = t.Files[name]
	delete(t.Files, name)
	t.Links[name] = pick(g, moved, relative(path.Dir(name), moved))
	t.Marks["file behind a link"] = true
}

// respell writes a key in another case, or a second time.
func (g *Generator) respell(t *Tree, f *File) {
	t.Marks["spelling"] = true
	table := f.Table
	for depth := g.rnd.IntN(4); ; depth-- {
		keys := sortedKeys(table)
		if len(keys) == 0 {
			return
		}
		k := pick(g, keys...)
		if sub, ok := table[k].(map[string]any); ok && depth > 0 {
			table = sub
			continue
		}
		other := pick(g, strings.ToUpper(k), strings.ToUpper(k[:min(1, len(k))])+k[min(1, len(k)):], strings.ToLower(k))
		if other == k {
			return
		}
		if g.chance(3) {
			table[other] = cloneValue(table[k])
			return
		}
		table[other] = table[k]
		delete(table, k)
		return
	}
}

// tear has a file end in the middle, or begin with what is not TOML, or gives a
// key another type.
func (g *Generator) tear(t *Tree, f *File) {
	text := f.Text()
	switch g.rnd.IntN(5) {
	case 0:
		if g.chance(3) {
			f.Raw, f.Table = text[:g.rnd.IntN(len(text)+1)]+"\n", nil
			t.Marks["torn"] = true
		}
	case 1:
		set(f.Table, pick[any](g, int64(3), "text", []any{}, true), "plugins", pick(g, oldPlugin, imagesPlugin))
		t.Marks["another type"] = true
	case 2:
		set(f.Table, pick[any](g, int64(3), "text", []any{Dir}, true), "plugins", pick(g, oldPlugin, imagesPlugin), "registry")
		t.Marks["another type"] = true
	case 3:
		set(f.Table, pick[any](g, int64(3), []any{Dir}, true, map[string]any{}), "plugins", pick(g, oldPlugin, imagesPlugin), "registry", "config_path")
		t.Marks["another type"] = true
	case 4:
		set(f.Table, pick[any](g, "conf.d/*.toml", int64(2), map[string]any{}), "imports")
		t.Marks["another type"] = true
	}
}

// scramble changes the text of a file in a place or two: TOML in most cases no
// more, or another one, which the libraries of all lines have to agree on.
func (g *Generator) scramble(f *File) {
	lines := strings.SplitAfter(f.Text(), "\n")
	for n := 1 + g.rnd.IntN(2); n > 0; n-- {
		i, j := g.rnd.IntN(len(lines)), g.rnd.IntN(len(lines))
		switch g.rnd.IntN(5) {
		case 0:
			lines = slices.Insert(lines, i, lines[j])
		case 1:
			lines[i], lines[j] = lines[j], lines[i]
		case 2:
			lines[i] = ""
		default:
			at := g.rnd.IntN(len(lines[i]) + 1)
			cut := at
			if at < len(lines[i]) && g.chance(2) {
				cut++
			}
			lines[i] = lines[i][:at] + pick(g, "", "\"", "'", "[", "]", "{", "}", ".", ",", "=", "#", " ", "\n", "\r", "\t", "\\", "0", "_", "é", "\x00", "\xff", "\"\"\"", "[[", "\ufeff") + lines[i][cut:]
		}
	}
	f.Raw, f.Table, f.Mark = strings.Join(lines, ""), nil, false
	if f.Raw == "" {
		f.Raw = "\n"
	}
}
