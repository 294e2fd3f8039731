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
		return &Reason{Text: "no configuration was read"}
	case c.chance != nil:
		return c.chance
	case c.NoCRI != nil:
		return c.NoCRI
	case IsDir(c.ConfigPath, dir):
		return nil
	}
	why, first := l.explain(&c, dir)
	edit, refused := l.repair(dir, first)
	r := l.reason(why.at, "", why.text)
	switch {
	case edit != nil:
		r.Repair = edit.String()
	case refused != nil:
		r = l.reason(Position{refused.File, refused.Line, refused.Table},
			fmt.Sprintf("move its settings to the mirror map, remove the table, and set config_path = %q in its place", dir), refused.Text)
	}
	r.Name = why.name
	return r
}

// A cause is what keeps a config_path from being in effect.
type cause struct {
	at         Position
	name, text string
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
		return cause{c.Set, PathList, fmt.Sprintf("sets config_path = %q; %s", c.ConfigPath, l.listText())}, []string{c.Set.File}
	case c.Set != Position{}:
		return cause{c.Set, PathOther, fmt.Sprintf("sets config_path = %q, and %s reads that directory, not %q", c.ConfigPath, l.line, dir)}, []string{c.Set.File}
	}
	if i := lastIndex(spots, func(s spot) bool { return s.value != "" }); i >= 0 {
		why := l.why(spots, i, c)
		return why, []string{why.at.File, spots[i].at.File}
	}
	if i := lastIndex(spots, func(spot) bool { return true }); i >= 0 {
		return cause{spots[i].at, PathUnset, "sets an empty config_path, " + l.defaultText()}, []string{spots[i].at.File}
	}
	at := Position{File: l.main}
	if len(l.read) == 0 {
		return cause{at, PathUnset, "does not exist, " + l.defaultText()}, nil
	}
	return cause{at, PathUnset, "neither it nor its imports set config_path, " + l.defaultText()}, nil
}

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
		return l.line.String() + " reads more than that directory then"
	}
	return l.line.String() + " takes the list for one directory in most pulls, and reads no hosts.toml"
}

// defaultText says what pulls do if nothing is set.
func (l *load) defaultText() string {
	if l.line.Before(2, 2, 0) {
		return "and " + l.line.String() + " then reads no hosts.toml"
	}
	return fmt.Sprintf("and %s then uses %q, which most pulls take for one directory, so that no hosts.toml is read", l.line, defaultList)
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
		return cause{s.at, WrongTable, "is a table of files without a version, and this one has version = " + fmt.Sprint(f.version)}
	}
	if s.plugin == criPlugin && !strings.HasSuffix(s.at.Table, ".registry") {
		return cause{s.at, WrongTable, fmt.Sprintf("is not read, because %s finds the table as \"registry\" only", l.line)}
	}
	if dead := l.dead(s, c); dead.text != "" {
		return dead
	}
	for _, later := range slices.Backward(spots[i+1:]) {
		if dead := l.dead(later, c); dead.text == "" && later.value != s.value {
			return cause{later.at, PathOverridden, fmt.Sprintf("sets config_path = %q, which overrides %s:%d; %s", later.value, s.at.File, s.at.Line, l.effect(c))}
		}
	}
	return cause{s.at, PathOverridden, "sets a config_path that is not in effect; " + l.effect(c)}
}

// effect says what is in effect instead.
func (l *load) effect(c *Config) string {
	if c.Set != (Position{}) {
		return fmt.Sprintf("%s reads %q", l.line, c.ConfigPath)
	}
	return strings.TrimPrefix(l.defaultText(), "and ")
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
		return cause{s.at, WrongTable, "is a table of containerd 2, which " + l.line.String() + " does not read"}
	case s.plugin == criPlugin && c.Version == 1:
		return cause{s.at, WrongTable, "is read by " + l.line.String() + " with version = 2 only, and no file says that"}
	case s.plugin == earlyPlugin && c.Version != 1:
		return cause{s.at, WrongTable, "is read by " + l.line.String() + " without a version only"}
	}
	for _, f := range slices.Backward(l.read[s.in+1:]) {
		if f.hasPlugin(s.plugin) {
			key := []string{"plugins", s.plugin}
			return cause{Position{f.path, f.lines(key...), tableName(key)}, PathOverridden,
				fmt.Sprintf("replaces the whole table of that plugin in %s:%d in %s, whose config_path is forgotten", s.at.File, s.at.Line, l.line)}
		}
	}
	return cause{}
}

func (l *load) whyTwo(s spot, f *file, c *Config) cause {
	old := s.plugin == criPlugin || s.plugin == earlyPlugin
	if l.line.migratesEach() {
		if old && f.version > 3 {
			return cause{s.at, WrongTable, fmt.Sprintf("is not read in a file of version %d", f.version)}
		}
		if r := f.plugins[criPlugin].get("registry"); !old && f.version < 4 && r != nil {
			return cause{r.at, OldTableWins, fmt.Sprintf("replaces [%s] of the same file in %s", s.at.Table, l.line)}
		}
		return cause{}
	}
	if old && c.Version > 2 {
		because := "and no file says version = 2"
		if at := l.lastVersion(); at != (Position{}) {
			because = fmt.Sprintf("as %s:%d says", at.File, at.Line)
		}
		return cause{s.at, VersionMixed, fmt.Sprintf("is not read, because %s reads all its files as version %d, %s", l.line, c.Version, because)}
	}
	for _, other := range slices.Backward(l.read) {
		if r := other.plugins[criPlugin].get("registry"); !old && c.Version == 2 && r != nil {
			return cause{r.at, OldTableWins, fmt.Sprintf("replaces [%s], because %s reads all its files as version 2", s.at.Table, l.line)}
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
