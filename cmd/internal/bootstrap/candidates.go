package bootstrap

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
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
