package config

import (
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
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

// link makes a link where there is nothing yet.
func (g *Generator) link(t *Tree, name, target string) {
	if _, ok := t.Files[name]; !ok {
		t.Links[name] = target
	}
}

// put makes a file of a mood where there is none yet, sometimes with imports of
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

// under reports whether a path goes through something that is no directory.
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

// anyTable stands for the tables of the CRI, one of which is picked.
const anyTable = "CRI"

// settings are keys besides the registry that keep containerd or its CRI from
// starting if their value is not one that they take, with some that they do and
// some that they do not.
var settings = []struct {
	key    []string
	values []any
}{
	{[]string{"debug", "level"}, []any{"info", int64(3)}},
	{[]string{"debug", "uid"}, []any{int64(3), "0"}},
	{[]string{"grpc", "max_recv_message_size"}, []any{int64(16777216), "16M"}},
	{[]string{"metrics", "grpc_histogram"}, []any{true, "yes"}},
	{[]string{"oom_score"}, []any{int64(0), "0", 1.5}},
	{[]string{"root"}, []any{"/var/lib/containerd", int64(1)}},
	{[]string{"timeouts", "io.containerd.timeout.task.state"}, []any{"2s", "soon", ""}},
	{[]string{"proxy_plugins", "stargz", "type"}, []any{"snapshot", int64(1)}},
	{[]string{"stream_processors", "x", "accepts"}, []any{[]any{"a"}, "a"}},
	{[]string{"plugins"}, []any{int64(1), []any{}, "x"}},
	{[]string{"plugins", anyTable, "containerd"}, []any{map[string]any{}, int64(1), []any{}}},
	{[]string{"plugins", anyTable, "containerd", "default_runtime_name"}, []any{"runc", "kata", "", int64(1)}},
	{[]string{"plugins", anyTable, "containerd", "runtimes"}, []any{map[string]any{}, "runc"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc"}, []any{map[string]any{}, "v2"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "runtime_type"}, []any{"io.containerd.kata.v2", int64(2)}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "options"}, []any{map[string]any{"a": int64(1)}, "x"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "snapshotter"}, []any{"nydus", false}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "privileged_without_host_devices_all_devices_allowed"}, []any{false, true}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "runtime_engine"}, []any{"", "/bin/runc"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "io_type"}, []any{"streaming", "pipe"}},
	{[]string{"plugins", anyTable, "containerd", "snapshotter"}, []any{"overlayfs", int64(1), map[string]any{}}},
	{[]string{"plugins", anyTable, "containerd", "disable_snapshot_annotations"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "snapshotter"}, []any{"overlayfs", int64(1)}},
	{[]string{"plugins", anyTable, "pinned_images"}, []any{map[string]any{}, "pause"}},
	{[]string{"plugins", anyTable, "pinned_images", "sandbox"}, []any{"registry.k8s.io/pause:3.10", int64(3)}},
	{[]string{"plugins", anyTable, "sandbox_image"}, []any{"registry.k8s.io/pause:3.10", int64(3), map[string]any{}}},
	{[]string{"plugins", anyTable, "max_concurrent_downloads"}, []any{int64(5), "5", map[string]any{}}},
	{[]string{"plugins", anyTable, "image_pull_progress_timeout"}, []any{"1m", "soon", "", int64(60)}},
	{[]string{"plugins", anyTable, "image_pull_with_sync_fs"}, []any{true, int64(1)}},
	{[]string{"plugins", anyTable, "stats_collect_period"}, []any{int64(10), "10s", "soon"}},
	{[]string{"plugins", anyTable, "drain_exec_sync_io_timeout"}, []any{"0s", "soon", int64(0)}},
	{[]string{"plugins", anyTable, "enable_selinux"}, []any{true, "yes"}},
	{[]string{"plugins", anyTable, "systemd_cgroup"}, []any{false, true}},
	{[]string{"plugins", anyTable, "image_decryption", "key_model"}, []any{"node", int64(1)}},
	{[]string{"plugins", anyTable, "cni", "bin_dir"}, []any{"/opt/cni/bin", int64(1)}},
	{[]string{"plugins", anyTable, "cni", "bin_dirs"}, []any{[]any{"/opt/cni/bin"}, []any{"/usr/libexec/cni"}, "/opt/cni/bin"}},
	{[]string{"plugins", anyTable, "use_local_image_pull"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "enable_cdi"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "cni", "max_conf_num"}, []any{int64(1), "1"}},
	{[]string{"plugins", anyTable, "cni"}, []any{map[string]any{}, "bridge"}},
	{[]string{"plugins", anyTable, "stream_idle_timeout"}, []any{"4h", "long", int64(4)}},
	{[]string{"plugins", anyTable, "stream_server_port"}, []any{"0", int64(0)}},
	{[]string{"plugins", anyTable, "disable_tcp_service"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "x509_key_pair_streaming", "tls_cert_file"}, []any{"", int64(1)}},
	{[]string{"plugins", anyTable, "registry", "mirrors"}, []any{map[string]any{}, []any{}, "x"}},
	{[]string{"plugins", anyTable, "registry", "mirrors", "docker.io", "endpoint"}, []any{[]any{}, "https://x", int64(3)}},
	{[]string{"plugins", anyTable, "registry", "configs", "x", "auth"}, []any{map[string]any{}, "u:p"}},
	{[]string{"plugins", anyTable, "registry", "configs", "x", "tls"}, []any{map[string]any{}, "x"}},
	{[]string{"plugins", anyTable, "registry", "auths", ":", "username"}, []any{"u"}},
	{[]string{"plugins", anyTable, "registry", "headers", "X"}, []any{[]any{"a"}, "a"}},
	{[]string{"plugins", anyTable, "registry", "unknown"}, []any{int64(1)}},
	{[]string{"plugins", anyTable, "unknown"}, []any{"x", map[string]any{}, map[string]any{"a": []any{}}}},
	{[]string{"plugins", anyTable, "when"}, []any{toml.LocalDate{Year: 1979, Month: 5, Day: 27}, toml.LocalTime{Hour: 7, Minute: 32}, "x", map[string]any{}}},
	{[]string{"unknown"}, []any{"x", map[string]any{"a": int64(1)}}},
}

// addSetting sets one of the settings, mostly to a value that it takes.
func (g *Generator) addSetting(f *File) {
	s := pick(g, settings...)
	value := s.values[0]
	if g.chance(2) {
		value = pick(g, s.values...)
	}
	key := slices.Clone(s.key)
	if len(key) > 1 && key[1] == anyTable {
		key[1] = pick(g, oldPlugin, oldPlugin, imagesPlugin, runtime, "cri")
	}
	set(f.Table, cloneValue(value), key...)
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
