package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// The plugins whose table registry may have config_path: that of containerd 1.x,
// and that of 2.x.
const (
	criPlugin    = "io.containerd.grpc.v1.cri"
	imagesPlugin = "io.containerd.cri.v1.images"
)

// dropIn is the name of mirrorcred's drop-in. It comes after those that begin with
// a digit, as the drop-in of NVIDIA's toolkit does (99-nvidia.toml): the later wins.
const dropIn = "mirrorcred.toml"

// A configSeen is containerd's configuration as it was observed, and what is wanted of
// it.
type configSeen struct {
	files    containerdconfig.Files
	main     string // the main file
	named    bool   // containerd does not start without it
	versions []containerdconfig.Version
	dir      string // that containerd must read
	adopt    bool
}

// A configEdit is one configuration file as it should be.
type configEdit struct {
	path string
	data []byte
	text string // what the edit does
	part Part   // "" for a file that is new
}

// plan returns the edits that make each containerd that may be started next read dir and
// change nothing else, or why there are none. If containerd reads dir already, no edits
// are needed.
//
// containerd's own rules decide: each candidate is applied to the files in memory, and
// counts only if by those rules it has the wanted effect.
func (s configSeen) plan() ([]configEdit, *Refusal) {
	before := s.judge(s.files)
	switch {
	case len(before.versions) == 0:
		return nil, refusalOf(before.noStart)
	case before.isMissing && s.named, before.isMissing && before.reason != nil:
		return s.create(before)
	case before.mirrors.File != "":
		return nil, importFirst(before.mirrors)
	case before.noCRI != nil:
		return nil, refusalOf(before.noCRI)
	case before.reason == nil:
		return nil, nil
	}
	if edits := s.first(before, s.candidates(before)); edits != nil {
		return edits, nil
	}
	r := refusalOf(before.reason)
	edits := s.first(before, s.adoptions())
	switch {
	case edits == nil:
		return nil, r
	case s.adopt:
		return edits, nil
	}
	files := make([]string, len(edits))
	for i, e := range edits {
		files[i] = e.path
	}
	r.Repair += "; or run this again with --adopt, which sets config_path in " + strings.Join(files, " and in ") + ", and undo puts it back"
	return nil, r
}

// A configVerdict says what the containerds that may be started read in some files.
type configVerdict struct {
	versions  []containerdconfig.Version // those that start
	configs   []containerdconfig.Config  // what each makes of the files
	isMissing bool                       // there is no main file
	noStart   *containerdconfig.Reason   // why the last of those that do not start does not
	reason    *containerdconfig.Reason   // why the first does not read dir, nil if all do
	noCRI     *containerdconfig.Reason
	mirrors   containerdconfig.Position
	other     bool // a file sets config_path to another directory
}

func (s configSeen) judge(files containerdconfig.Files) configVerdict {
	var v configVerdict
	for _, version := range s.versions {
		c, err := containerdconfig.Effective(files, s.main, version)
		if err != nil {
			var start *containerdconfig.StartError
			if errors.As(err, &start) {
				v.noStart = &start.Reason
			}
			continue
		}
		v.versions, v.configs = append(v.versions, version), append(v.configs, c)
		v.isMissing = c.Read[0].Missing
		if reason := c.NotReading(s.dir); reason != nil && v.reason == nil {
			v.reason = reason
		}
		if v.noCRI == nil {
			v.noCRI = c.NoCRI
		}
		if c.Mirrors.File != "" {
			v.mirrors = c.Mirrors
		}
		v.other = v.other || c.Set.File != "" && c.ConfigPath != "" && !containerdconfig.IsDir(c.ConfigPath, s.dir) && !s.isOurs(c.Set.File)
	}
	return v
}

// works reports whether, after edits, each containerd that started before reads dir, with
// nothing else changed for it.
func (s configSeen) works(before configVerdict, edits []configEdit) bool {
	after := unitfile.Overlay{Files: s.files, Over: map[string][]byte{}}
	for _, e := range edits {
		after.Over[e.path] = e.data
	}
	if !s.keeps(edits) {
		return false
	}
	for i, version := range before.versions {
		c, err := containerdconfig.Effective(after, s.main, version)
		if err != nil || c.NotReading(s.dir) != nil || before.configs[i].Besides(c) != "" {
			return false
		}
	}
	return true
}

// keeps reports whether edits leave all other settings in the files alone, including
// those that have nothing to do with plugins.
func (s configSeen) keeps(edits []configEdit) bool {
	for _, e := range edits {
		old, err := s.files.ReadFile(e.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var one, other map[string]any
		if err != nil || toml.Unmarshal(old, &one) != nil || toml.Unmarshal(e.data, &other) != nil {
			return false
		}
		if !sameBesides(one, other) {
			return false
		}
	}
	return true
}

// sameBesides compares two files without the config_path of the registries.
func sameBesides(one, other map[string]any) bool {
	return reflect.DeepEqual(withoutPaths(one), withoutPaths(other))
}

func withoutPaths(file map[string]any) map[string]any {
	plugins, _ := file["plugins"].(map[string]any)
	for _, name := range []string{criPlugin, imagesPlugin} {
		plugin, _ := plugins[name].(map[string]any)
		registry, isTable := plugin["registry"].(map[string]any)
		if !isTable {
			continue
		}
		if delete(registry, "config_path"); len(registry) == 0 {
			delete(plugin, "registry")
		}
		if len(plugin) == 0 {
			delete(plugins, name)
		}
	}
	if len(plugins) == 0 {
		delete(file, "plugins")
	}
	return file
}

// first returns the first set of edits that works, nil if none does.
func (s configSeen) first(before configVerdict, candidates [][]configEdit) []configEdit {
	for _, edits := range candidates {
		if s.works(before, edits) {
			return edits
		}
	}
	return nil
}

// candidates returns the edits that touch no setting of another program: a drop-in if
// drop-ins are merged, else a block in the main file.
func (s configSeen) candidates(before configVerdict) [][]configEdit {
	if before.other {
		return nil
	}
	var all [][]configEdit
	if !before.versions[0].Before(2, 0, 0) {
		all = s.dropIns(before)
	}
	return append(all, s.inPlace(s.main)...)
}

// adoptions returns the edits that change another program's settings: a drop-in that
// overrides the main file, the main file, a file that it imports, or both.
func (s configSeen) adoptions() [][]configEdit {
	before := s.judge(s.files)
	merges := !before.versions[0].Before(2, 0, 0)
	var all [][]configEdit
	if merges {
		all = s.dropIns(before)
	}
	mains := s.inPlace(s.main)
	all = append(all, mains...)
	for _, in := range slices.Backward(before.configs[0].Read) {
		if in.Pattern || in.Path == s.main {
			continue
		}
		for _, edits := range s.inPlace(in.Path) {
			// On 1.x the main file too, because NVIDIA's toolkit regenerates its
			// drop-in from that.
			for _, main := range mains {
				if !merges {
					all = append(all, slices.Concat(main, edits))
				}
			}
			all = append(all, edits)
		}
	}
	return all
}

// tables returns the plugins whose table may have config_path. Those that the file has
// come first.
func (s configSeen) tables(file string) []string {
	all := []string{imagesPlugin, criPlugin}
	if len(s.versions) > 0 && s.versions[0].Before(2, 0, 0) {
		all = []string{criPlugin, imagesPlugin}
	}
	data, err := s.files.ReadFile(file)
	if err != nil {
		return all
	}
	var decoded struct {
		Plugins map[string]struct {
			Registry map[string]any `toml:"registry"`
		} `toml:"plugins"`
	}
	_ = toml.Unmarshal(data, &decoded) // what does not decode has none of them
	rank := func(plugin string) int {
		p, has := decoded.Plugins[plugin]
		switch {
		case has && p.Registry != nil:
			return 0
		case has:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	return all
}

// dropIns returns the drop-ins to try, each with the version of the main file.
func (s configSeen) dropIns(before configVerdict) [][]configEdit {
	var all [][]configEdit
	for _, in := range before.configs[0].Read {
		name := path.Join(path.Dir(in.Path), dropIn)
		if isMatch, err := path.Match(in.Path, name); !in.Pattern || err != nil || !isMatch || strings.Contains(path.Dir(in.Path), "*") {
			continue
		}
		if _, err := s.files.ReadFile(name); err == nil && !s.isOurs(name) {
			continue
		}
		for _, plugin := range s.tables(s.main) {
			all = append(all, []configEdit{{path: name, data: newConfig(s.mainVersion(), plugin, s.dir), text: "config_path = " + quoted(s.dir)}})
		}
	}
	return all
}

// mainVersion returns the version that the main file names, 0 if none.
func (s configSeen) mainVersion() int {
	data, err := s.files.ReadFile(s.main)
	if err != nil {
		return 0
	}
	return versionOf(data)
}

func versionOf(data []byte) int {
	var decoded struct {
		Version int `toml:"version"`
	}
	if toml.Unmarshal(data, &decoded) != nil {
		return 0
	}
	return decoded.Version
}

// isOurs reports whether a file is mirrorcred's, or has a block of mirrorcred's lines.
func (s configSeen) isOurs(file string) bool {
	data, err := s.files.ReadFile(file)
	return err == nil && (strings.HasPrefix(string(data), newHeader) || strings.Contains(string(data), blockBegin))
}

// inPlace returns the blocks to try in one file.
func (s configSeen) inPlace(file string) [][]configEdit {
	old, err := s.files.ReadFile(file)
	if err != nil {
		return nil
	}
	var all [][]configEdit
	for _, plugin := range s.tables(file) {
		e := configEdit{path: file, text: "config_path = " + quoted(s.dir), part: partBlock}
		if strings.HasPrefix(string(old), newHeader) {
			e.data, e.part = newConfig(versionOf(old), plugin, s.dir), ""
		} else if e.data, err = setConfigPath(old, plugin, s.dir); err != nil {
			continue
		}
		all = append(all, []configEdit{e})
	}
	return all
}

// create returns the smallest configuration that works, for a node without one. Every
// containerd reads version 2 with the old table; one that is known to be 2.x gets the new
// table.
func (s configSeen) create(before configVerdict) ([]configEdit, *Refusal) {
	version, plugin := 2, criPlugin
	if !before.versions[0].Before(2, 0, 0) {
		version, plugin = 3, imagesPlugin
	}
	edits := []configEdit{{path: s.main, data: newConfig(version, plugin, s.dir), text: "containerd has no configuration; config_path = " + quoted(s.dir)}}
	if s.works(before, edits) {
		return edits, nil
	}
	return nil, refusalOf(before.reason)
}

// newHeader is the first line of a configuration file that mirrorcred made.
const newHeader = "# Written by \"mirrorcred bootstrap bake\"; \"mirrorcred bootstrap undo\" removes it.\n"

// newConfig returns a configuration file that sets config_path and nothing else.
func newConfig(version int, plugin, dir string) []byte {
	text := newHeader
	if version > 0 {
		text += fmt.Sprintf("version = %d\n", version)
	}
	return fmt.Appendf(nil, "%s\n[plugins.%q.registry]\nconfig_path = %q\n", text, plugin, dir)
}

// importFirst refuses a configuration with registry mirrors.
func importFirst(at containerdconfig.Position) *Refusal {
	return &Refusal{
		File: at.File, Line: at.Line,
		Text:   fmt.Sprintf("[%s] has registry mirrors, and containerd does not accept both those and config_path", at.Table),
		Repair: "run \"mirrorcred import " + at.File + "\" for a map with them, and remove the table",
	}
}

func refusalOf(r *containerdconfig.Reason) *Refusal {
	if r == nil {
		return &Refusal{Text: "it is not known which containerd is installed", Repair: "write its version under [containerd] in the map"}
	}
	text := r.Text
	if r.Table != "" {
		text = "[" + r.Table + "] " + text
	}
	return &Refusal{File: r.File, Line: r.Line, Text: text, Repair: r.Repair}
}
