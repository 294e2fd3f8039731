package config

import (
	"path"
	"slices"
	"strings"
)

// imported adds what an entry of imports names, and returns the entry. by is
// the file that imports.
func (g *Generator) imported(t *Tree, by string, m mood) string {
	dir := path.Dir(by)
	drop := mood{versions: []int{0, m.versions[0], m.versions[0], m.versions[0], 2, 3}, plugin: m.plugin, tame: m.tame}
	if m.tame {
		drop.versions = []int{0, 2, 2, 2, 2, 2, 2, 2, 2, 3}
	}
	switch g.rnd.IntN(12) {
	case 0, 1, 2, 3, 4: // a directory of drop-ins
		for n := 1 + g.rnd.IntN(2); n > 0; n-- {
			g.put(t, path.Join(dir, "conf.d", pick(g, "a.toml", "b.toml", "99-nvidia.toml", "z.TOML", ".hidden.toml")), drop)
		}
		t.Marks["conf.d"] = true
		return pick(g, "conf.d/*.toml", "/etc/containerd/conf.d/*.toml", "conf.d/*", "./conf.d/*.toml", "*/*.toml", "conf.d/[a-z]*.toml", "conf.d/?.toml*")
	case 5, 6: // one file by its name
		name := pick(g, "a.toml", "b.toml", "c.toml", "x[1].toml", "without-ending", "deep/d.toml")
		g.put(t, path.Join(dir, name), drop)
		t.Marks["import by name"] = true
		return pick(g, name, "./"+name, path.Join(dir, name), "../"+path.Base(dir)+"/"+name, dir+"//"+name)
	case 7: // elsewhere
		g.put(t, "/opt/containerd/e.toml", drop)
		t.Marks["import elsewhere"] = true
		return pick(g, "/opt/containerd/e.toml", "/opt/*/e.toml", "../../opt/containerd/e.toml")
	case 8: // through a link to a file, or to a directory
		return g.linked(t, dir, drop)
	case 9: // itself
		return pick(g, path.Base(by), "/etc/containerd/config.toml", "*.toml")
	case 10: // nothing matches
		return "gone.d/*.toml"
	}
	if g.chance(3) {
		t.Marks["import that is not there"] = true
		return "gone.toml"
	}
	if g.chance(4) {
		t.Dirs = append(t.Dirs, path.Join(dir, "conf.d", "directory.toml"))
		return "conf.d/*.toml"
	}
	return "conf.d/*.toml"
}

// linked imports through a symbolic link.
func (g *Generator) linked(t *Tree, dir string, m mood) string {
	t.Marks["import through a link"] = true
	if g.chance(2) {
		g.put(t, "/opt/containerd/linked.toml", m)
		g.link(t, path.Join(dir, "linked.toml"), pick(g, "/opt/containerd/linked.toml", relative(dir, "/opt/containerd/linked.toml")))
		return pick(g, "linked.toml", "linke*.toml")
	}
	g.put(t, "/opt/drop-ins/d.toml", m)
	g.link(t, path.Join(dir, "linked.d"), pick(g, "/opt/drop-ins", relative(dir, "/opt/drop-ins")))
	return pick(g, "linked.d/*.toml", "linked.d/d.toml", "linked.d/../linked.d/*.toml")
}

func relative(dir, target string) string {
	return strings.Repeat("../", strings.Count(strings.Trim(dir, "/"), "/")+1) + target[1:]
}

// link makes a link if there is nothing yet.
func (g *Generator) link(t *Tree, name, target string) {
	if _, ok := t.Files[name]; !ok {
		t.Links[name] = target
	}
}

// put makes a file of a mood if there is none yet, sometimes with imports of
// its own.
func (g *Generator) put(t *Tree, name string, m mood) {
	if t.Files[name] != nil || g.under(t, name) {
		return
	}
	f := g.file(name, m)
	t.Files[name] = f
	if g.chance(8) {
		t.Marks["import of an import"] = true
		f.Table["imports"] = []any{g.imported(t, name, m)}
	}
}

// under reports whether a path goes through something that is not a directory.
func (g *Generator) under(t *Tree, name string) bool {
	if _, ok := t.Links[name]; ok {
		return true
	}
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if _, ok := t.Links[dir]; ok || t.Files[dir] != nil {
			return true
		}
	}
	return slices.Contains(t.Dirs, name)
}
