package containerdconfig

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// NotReading returns nil if pulls use exactly dir for registry configuration.
// Otherwise it returns what this containerd does instead, where that is
// configured, and the one edit after which it uses dir.
func (c Config) NotReading(dir string) *Reason {
	l := c.load
	switch {
	case l == nil:
		return &Reason{What: "what containerd reads is not known", Text: "no configuration was read"}
	case c.chance != nil:
		return c.chance
	case c.NoCRI != nil:
		return c.NoCRI
	case IsDir(c.ConfigPath, dir):
		return nil
	}
	why, first := l.explain(&c, dir)
	edit, refused := l.repair(dir, first)
	r := l.reason(why.at, why.what, "", why.text)
	switch {
	case edit != nil:
		r.Repair = l.says(*edit)
	case refused != nil:
		r = l.reason(Position{refused.File, refused.Line, refused.Table}, why.what, l.instead(refused, dir), refused.Text)
	}
	r.Name = why.name
	return r
}

// instead says what to do if the CRI refuses to load with a config_path.
func (l *load) instead(refused *Reason, dir string) string {
	if refused.Name == MirrorsBeside {
		return fmt.Sprintf("%sremove the table, and set config_path = %q in its place", l.importFirst(refused.File), dir)
	}
	return fmt.Sprintf("%s, and set config_path = %q", refused.Repair, dir)
}

// importFirst begins what to do about registries that the CRI refuses: the map can have
// them.
func (l *load) importFirst(file string) string {
	return fmt.Sprintf("run \"mirrorcred import %s\" for a map with them, ", l.name(file))
}

// A cause is what keeps a config_path from being in effect: what that means, and what
// stands at the place.
type cause struct {
	at               Position
	name, what, text string
}

// IsDir reports whether a config_path is dir, however it is written. containerd
// joins it with the host's name, which cleans it. With a colon it is a list to
// some pulls, and what cleans to dir may be two other directories.
func IsDir(configPath, dir string) bool {
	return configPath != "" && !strings.Contains(configPath, ":") && path.Clean(configPath) == path.Clean(dir)
}

// explain returns the cause, and the files in which to look for a repair first.
func (l *load) explain(c *Config, dir string) (why cause, first []string) {
	spots := l.spots()
	wanted := func(s spot) bool { return IsDir(s.value, dir) }
	if i := lastIndex(spots, wanted); i >= 0 {
		why := l.why(spots, i, c)
		return why, []string{why.at.File, spots[i].at.File}
	}
	switch {
	case c.Set != Position{} && strings.Contains(c.ConfigPath, ":"):
		return cause{c.Set, PathList, "config_path is a list, and " + l.listText(), written(c.ConfigPath)}, []string{c.Set.File}
	case c.Set != Position{}:
		return cause{c.Set, PathOther, fmt.Sprintf("config_path is another directory, so %s does not read %q", l.line, dir), written(c.ConfigPath)}, []string{c.Set.File}
	}
	if i := lastIndex(spots, func(s spot) bool { return s.value != "" }); i >= 0 {
		why := l.why(spots, i, c)
		return why, []string{why.at.File, spots[i].at.File}
	}
	if i := lastIndex(spots, func(spot) bool { return true }); i >= 0 {
		return cause{spots[i].at, PathUnset, "config_path is empty, " + l.defaultText(), written("")}, []string{spots[i].at.File}
	}
	at := Position{File: l.main}
	if len(l.read) == 0 {
		return cause{at, PathUnset, "containerd's configuration file is missing, " + l.defaultText(), "no such file"}, nil
	}
	return cause{at, PathUnset, "config_path is not set, " + l.defaultText(), "no config_path, also not in its imports"}, nil
}

// written is a config_path as a file has it.
func written(value string) string { return fmt.Sprintf("config_path = %q", value) }

func lastIndex(spots []spot, is func(spot) bool) int {
	for i, s := range slices.Backward(spots) {
		if is(s) {
			return i
		}
	}
	return -1
}

// listText says what pulls do with a list.
func (l *load) listText() string {
	if l.line.splits() {
		return l.line.String() + " reads more than one directory"
	}
	return l.line.String() + " takes it for one directory in most pulls, and reads no hosts.toml"
}

// defaultText says what pulls do if nothing is set.
func (l *load) defaultText() string {
	if l.line.Before(2, 2, 0) {
		return "so " + l.line.String() + " reads no hosts.toml"
	}
	return fmt.Sprintf("so %s uses its default, a list that most pulls take for one directory, and reads no hosts.toml", l.line)
}

// A spot is a place that sets config_path, in effect or not.
type spot struct {
	in     int // of the files
	plugin string
	value  string
	at     Position
}

// spots returns all places that set config_path, in the order of reading.
func (l *load) spots() []spot {
	var all []spot
	for i, f := range l.read {
		for _, plugin := range []string{earlyPlugin, criPlugin, imagesPlugin} {
			if tree, ok := f.trees[plugin]; ok {
				if s, ok := tree.GetPath([]string{"registry", "config_path"}).(string); ok {
					key := []string{"plugins", plugin, "registry"}
					all = append(all, spot{i, plugin, s, Position{f.path, f.lines(append(key, "config_path")...), tableName(key)}})
				}
			}
			for _, n := range f.plugins[plugin].any("registry", "config_path") {
				if s, ok := n.value.(string); ok {
					all = append(all, spot{i, plugin, s, n.at})
				}
			}
		}
	}
	return all
}

// why says why the setting at spots[i] is not in effect.
func (l *load) why(spots []spot, i int, c *Config) cause {
	s := spots[i]
	f := l.read[s.in]
	if s.plugin == earlyPlugin && f.version > 1 {
		return cause{s.at, WrongTable, l.wrongTable(), "is a table of files without a version, and this one has version = " + fmt.Sprint(f.version)}
	}
	if s.plugin == criPlugin && !strings.HasSuffix(s.at.Table, ".registry") {
		return cause{s.at, WrongTable, l.wrongTable(), fmt.Sprintf("is not read, because %s finds the table as \"registry\" only", l.line)}
	}
	if dead := l.dead(s, c); dead.text != "" {
		return dead
	}
	for _, later := range slices.Backward(spots[i+1:]) {
		if dead := l.dead(later, c); dead.text == "" && later.value != s.value {
			return cause{later.at, PathOverridden, l.overridden(c), fmt.Sprintf("%s, which overrides %s:%d", written(later.value), l.name(s.at.File), s.at.Line)}
		}
	}
	return cause{s.at, PathOverridden, l.overridden(c), "sets a config_path that is not in effect"}
}

// wrongTable says that config_path stands in a table that is not read.
func (l *load) wrongTable() string {
	return l.line.String() + " does not read the table in which config_path is set"
}

// overridden says what is in effect instead of a config_path.
func (l *load) overridden(c *Config) string {
	if c.Set != (Position{}) {
		return fmt.Sprintf("config_path is overridden, so %s reads %q", l.line, c.ConfigPath)
	}
	return "config_path is overridden, " + l.defaultText()
}

// dead says what makes containerd ignore a setting whatever its value is, or "".
func (l *load) dead(s spot, c *Config) cause {
	if l.line.isOne() {
		return l.whyOne(s, c)
	}
	return l.whyTwo(s, l.read[s.in], c)
}

func (l *load) whyOne(s spot, c *Config) cause {
	switch {
	case s.plugin == imagesPlugin:
		return cause{s.at, WrongTable, l.wrongTable(), "is a table of containerd 2, which " + l.line.String() + " does not read"}
	case s.plugin == criPlugin && c.Version == 1:
		return cause{s.at, WrongTable, l.wrongTable(), "is read by " + l.line.String() + " with version = 2 only, and no file says that"}
	case s.plugin == earlyPlugin && c.Version != 1:
		return cause{s.at, WrongTable, l.wrongTable(), "is read by " + l.line.String() + " without a version only"}
	}
	for _, f := range slices.Backward(l.read[s.in+1:]) {
		if f.hasPlugin(s.plugin) {
			key := []string{"plugins", s.plugin}
			return cause{Position{f.path, f.lines(key...), tableName(key)}, PathOverridden, l.overridden(c),
				fmt.Sprintf("replaces the whole table of that plugin in %s:%d in %s, whose config_path is forgotten", l.name(s.at.File), s.at.Line, l.line)}
		}
	}
	return cause{}
}

func (l *load) whyTwo(s spot, f *file, c *Config) cause {
	old := s.plugin == criPlugin || s.plugin == earlyPlugin
	if l.line.migratesEach() {
		if old && f.version > 3 {
			return cause{s.at, WrongTable, l.wrongTable(), fmt.Sprintf("is not read in a file of version %d", f.version)}
		}
		if r := f.plugins[criPlugin].get("registry"); !old && f.version < 4 && r != nil {
			return cause{r.at, OldTableWins, l.overridden(c), fmt.Sprintf("replaces [%s] of the same file in %s", s.at.Table, l.line)}
		}
		return cause{}
	}
	if old && c.Version > 2 {
		because := "and no file says version = 2"
		if at := l.lastVersion(); at != (Position{}) {
			because = fmt.Sprintf("as %s:%d says", l.name(at.File), at.Line)
		}
		return cause{s.at, VersionMixed, l.wrongTable(), fmt.Sprintf("is not read, because %s reads all its files as version %d, %s", l.line, c.Version, because)}
	}
	for _, other := range slices.Backward(l.read) {
		if r := other.plugins[criPlugin].get("registry"); !old && c.Version == 2 && r != nil {
			return cause{r.at, OldTableWins, l.overridden(c), fmt.Sprintf("replaces [%s], because %s reads all its files as version 2", s.at.Table, l.line)}
		}
	}
	return cause{}
}

// lastVersion returns where the last file that names a version does so.
func (l *load) lastVersion() Position {
	for _, f := range slices.Backward(l.read) {
		if f.version > 1 {
			return Position{File: f.path, Line: f.lines("version")}
		}
	}
	return Position{}
}
