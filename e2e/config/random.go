package config

import (
	"math/rand/v2"
	"slices"
)

// The tables that hold a registry, and the list that containerd 2.2 has for a
// default.
const (
	oldPlugin    = "io.containerd.grpc.v1.cri"
	imagesPlugin = "io.containerd.cri.v1.images"
	runtime      = "io.containerd.cri.v1.runtime"
	list         = "/etc/containerd/certs.d:/etc/docker/certs.d"
)

// A Generator makes trees at random, the same ones for the same seed. Two of
// three are examples that have been changed: each example in its turn, so that
// each construct comes again and again.
type Generator struct {
	rnd      *rand.Rand
	examples []Example
	made     int
}

// NewGenerator returns a generator that goes through the examples.
func NewGenerator(seed uint64, examples []Example) *Generator {
	return &Generator{rnd: rand.New(rand.NewPCG(seed, 2)), examples: examples}
}

// Next returns another tree.
func (g *Generator) Next() *Tree {
	g.made++
	if n := g.made - g.made/3; g.made%3 != 0 && len(g.examples) > 0 {
		return g.vary(g.examples[n%len(g.examples)])
	}
	t := g.invent()
	g.disturb(t)
	return t
}

func (g *Generator) chance(n int) bool { return g.rnd.IntN(n) == 0 }

func pick[T any](g *Generator, from ...T) T { return from[g.rnd.IntN(len(from))] }

// weighted picks by weight; the weights and what they are for take turns.
func (g *Generator) weighted(choices ...choice) any {
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := g.rnd.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	panic("not reached")
}

type choice struct {
	weight int
	value  any
}

// vary returns an example's tree, written in another way, and mostly with
// something else in it too.
func (g *Generator) vary(e Example) *Tree {
	t := e.Tree.Clone()
	for _, name := range t.names() {
		if style := g.style(); !e.bySpelling {
			t.Files[name] = t.Files[name].asTable(style)
		}
	}
	for n := g.rnd.IntN(3); n > 0; n-- {
		g.disturb(t)
	}
	if e.In(t) {
		t.Marks["example "+e.Name] = true
	}
	return t
}

func (g *Generator) style() uint64 {
	if g.chance(3) {
		return 0
	}
	return g.rnd.Uint64()
}

// A mood is a kind of configuration that people have: the versions and the
// table in which they set config_path. Without one, a random tree is right for
// hardly any line.
type mood struct {
	versions []int // 0: none is written
	plugin   string
	tame     bool // drop-ins have nothing to do with the CRI
}

// invent returns a main file with some imports, all of one mood for the most
// part.
func (g *Generator) invent() *Tree {
	t := newTree()
	// The examples are right for 1.7 least of all. It reads the tables of a tame
	// node only.
	m := mood{versions: []int{2}, plugin: oldPlugin, tame: true}
	if g.chance(2) {
		m = pick(g,
			mood{versions: []int{2}, plugin: oldPlugin}, mood{versions: []int{2}, plugin: oldPlugin},
			mood{versions: []int{2}, plugin: oldPlugin}, mood{versions: []int{2}, plugin: oldPlugin},
			mood{versions: []int{3}, plugin: imagesPlugin}, mood{versions: []int{3}, plugin: imagesPlugin},
			mood{versions: []int{2, 3, 4, 0, 1}, plugin: oldPlugin}, mood{versions: []int{0, 1}, plugin: "cri"},
			mood{versions: []int{4}, plugin: imagesPlugin}, mood{versions: []int{2}, plugin: imagesPlugin},
			mood{versions: []int{3}, plugin: oldPlugin}, mood{versions: []int{0, 1, 2, 3, 4}, plugin: imagesPlugin})
	}
	main := g.file(Main, m)
	if g.chance(30) {
		t.Marks["no main file"] = true
	} else {
		t.Files[Main] = main
	}
	if g.chance(3) {
		return t
	}
	var imports []any
	for n := 1 + g.rnd.IntN(3); n > 0; n-- {
		imports = append(imports, g.imported(t, Main, m))
	}
	main.Table["imports"] = imports
	return t
}

// file returns a file of a mood. A main file mostly has the registry.
func (g *Generator) file(name string, m mood) *File {
	f := &File{Table: map[string]any{}, Style: g.style()}
	switch {
	case name == Main && m.tame:
		set(f.Table, Dir, "plugins", m.plugin, "registry", "config_path")
	case name == Main && !g.chance(8):
		g.addRegistry(f, m.plugin)
	}
	if v := pick(g, m.versions...); v > 0 {
		f.Table["version"] = int64(v)
	}
	if g.chance(25) {
		g.mistake(f)
	}
	for n := 1 + g.rnd.IntN(2); n > 0; n-- {
		if m.tame {
			g.addTame(f)
		} else {
			g.addTable(f, m.plugin)
		}
	}
	return f
}

// mistake writes a version that few would write.
func (g *Generator) mistake(f *File) {
	f.Table["version"] = pick[any](g, int64(5), int64(0), int64(-1), "3", int64(1), int64(4), 2.5)
}

// addTable adds a table to a file: mostly the registry of the plugin.
func (g *Generator) addTable(f *File, plugin string) {
	switch {
	case g.chance(2):
		g.addRegistry(f, plugin)
	case g.chance(6):
		g.addRegistry(f, pick(g, oldPlugin, imagesPlugin, "cri"))
	default:
		g.addOther(f)
	}
}

func set(table map[string]any, value any, keys ...string) {
	for _, k := range keys[:len(keys)-1] {
		sub, ok := table[k].(map[string]any)
		if !ok {
			sub = map[string]any{}
			table[k] = sub
		}
		table = sub
	}
	table[keys[len(keys)-1]] = value
}

func (g *Generator) addRegistry(f *File, plugin string) {
	if f.Table == nil {
		return
	}
	at := func(value any, keys ...string) {
		set(f.Table, value, append([]string{"plugins", plugin, "registry"}, keys...)...)
	}
	if g.chance(12) {
		at(map[string]any{})
		return
	}
	if !g.chance(8) {
		at(g.weighted(choice{20, Dir}, choice{4, Other}, choice{3, ""}, choice{2, list}, choice{1, Dir + "/"},
			choice{1, "certs.d"}, choice{1, Dir + ":"}, choice{1, "/etc/containerd//certs.d"}, choice{1, " " + Dir}), "config_path")
	}
	switch g.rnd.IntN(24) {
	case 0:
		at(map[string]any{}, "mirrors")
	case 1:
		at([]any{"https://mirror.example.com"}, "mirrors", "docker.io", "endpoint")
	case 2, 3:
		at("secret", "configs", "harbor.example.com", "auth", "password")
	case 4:
		at(true, "configs", "harbor.example.com", "tls", "insecure_skip_verify")
	case 5:
		at([]any{"yes"}, "headers", "X-Meta-Test")
	case 6:
		at("secret", "auths", "https://harbor.example.com", "password")
	}
}

// addOther adds what does not say which registry is asked, or seems not to.
func (g *Generator) addOther(f *File) {
	plugin := pick(g, oldPlugin, oldPlugin, runtime)
	switch g.rnd.IntN(14) {
	case 0, 1:
		set(f.Table, "io.containerd.runc.v2", "plugins", plugin, "containerd", "runtimes", "nvidia", "runtime_type")
		if g.chance(2) {
			set(f.Table, "io.containerd.runc.v2", "plugins", plugin, "containerd", "runtimes", "runc", "runtime_type")
		}
	case 2:
		set(f.Table, "registry.k8s.io/pause:3.10", "plugins", oldPlugin, "sandbox_image")
	case 3:
		set(f.Table, int64(3), "plugins", pick(g, oldPlugin, imagesPlugin), "max_concurrent_downloads")
	case 4:
		set(f.Table, "100ms", "plugins", "scheduler", "schedule_delay")
	case 5:
		set(f.Table, []any{pick(g, oldPlugin, imagesPlugin, runtime, "cri", "zfs")}, "disabled_plugins")
	case 6:
		set(f.Table, "nvidia", "plugins", plugin, "containerd", "default_runtime_name")
	case 7:
		set(f.Table, map[string]any{}, "plugins", pick(g, oldPlugin, imagesPlugin))
	default:
		g.addTame(f)
	}
}

// addTame adds what has nothing to do with the CRI, or what 1.x takes for the
// table of a plugin that it does not have.
func (g *Generator) addTame(f *File) {
	switch g.rnd.IntN(7) {
	case 0, 1:
		set(f.Table, pick(g, "debug", "info"), "debug", "level")
	case 2:
		set(f.Table, "100ms", "plugins", "io.containerd.gc.v1.scheduler", "schedule_delay")
	case 3:
		set(f.Table, []any{"io.containerd.snapshotter.v1.zfs"}, "disabled_plugins")
	case 4:
		set(f.Table, map[string]any{"type": "snapshot", "address": "/run/stargz.sock"}, "proxy_plugins", "stargz")
	case 5:
		set(f.Table, int64(-999), "oom_score")
		set(f.Table, "/run/containerd/containerd.sock", "grpc", "address")
	case 6:
		if g.chance(2) {
			set(f.Table, true, "plugins", imagesPlugin, "use_local_image_pull")
		} else {
			set(f.Table, "registry.k8s.io/pause:3.10", "plugins", imagesPlugin, "pinned_images", "sandbox")
		}
	}
}

// names returns the paths of the files, sorted.
func (t *Tree) names() []string {
	var names []string
	for name := range t.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func sortedKeys(t map[string]any) []string {
	var keys []string
	for k := range t {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
