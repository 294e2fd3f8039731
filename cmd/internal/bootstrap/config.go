package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

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
	return &Refusal{File: r.File, Line: r.Line, Text: r.What + ": " + r.Found(), Repair: r.Repair}
}
