package containerd

import (
	"fmt"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// An outlook is what containerd will read after its next start, according to
// its files.
type outlook struct {
	// reason is why it will not read the tree, nil if each version that may be
	// started will.
	reason error
	// configPath is the one that it will have, and where is what sets it, "" if no
	// file does.
	configPath, where string
	// installed is the version of the program, "" if that is unknown.
	installed string
	// disabled says where the CRI is disabled, so that nothing is pulled; nil if
	// it is not. Once enabled, it reads the tree.
	disabled *containerdconfig.Reason
	// missing says that there is no configuration file, and that containerd starts
	// without one.
	missing bool
	// logins are the registries for which it has logins of its own.
	logins []doctor.Login
	// startKnown says that it is known how containerd is started, so only a change of
	// its files changes what it reads.
	startKnown bool
}

// outlook judges the files by the rules of the installed version, or else of
// the running one, or else of the one in the map, or else of each line that
// would start with them.
func (o Observer) outlook(now *running) outlook {
	b := o.nextStart(now)
	next := outlook{startKnown: b.known}
	if !path.IsAbs(b.main) {
		next.reason = unread("", fmt.Sprintf("containerd is started with --config=%s, which depends on its working directory", b.main), "start it with an absolute path")
		return next
	}
	lines, err := o.lines(&next, b.program, now)
	if err != nil {
		next.reason = err
		return next
	}
	o.judgeLines(&next, lines, b.main, b.named)
	return next
}

// A nextStart is how containerd is started next.
type nextStart struct {
	main    string // its configuration
	named   bool   // by its command line
	program string // "" if unknown
	known   bool   // as in outlook
}

// nextStart finds out how containerd is started next.
func (o Observer) nextStart(now *running) nextStart {
	name := "containerd.service"
	b := nextStart{main: o.Wanted.Config, known: true}
	if now != nil {
		if now.process.unit != "" {
			name = now.process.unit
		}
		b.program, b.main = now.process.args[0], defaultConfig
		if file, given := configFlag(now.process.args); given {
			b.main, b.named = file, true
		}
		b.known = b.main == o.Wanted.Config
	}
	argv := o.started(name)
	if argv == nil {
		return b
	}
	file, given := configFlag(argv)
	if !given {
		file = defaultConfig
	}
	switch {
	case now != nil && now.process.unit == name, now == nil && (file == o.Wanted.Config || o.Wanted.Config == defaultConfig):
		b = nextStart{main: file, named: given, program: argv[0], known: true}
	case now != nil:
		// This unit did not start it, but may do so next time.
		b.known = b.known && file == b.main
	}
	return b
}

// lines returns the versions that may be started next: one if it is known.
func (o Observer) lines(next *outlook, program string, now *running) ([]containerdconfig.Version, error) {
	programs, err := o.programs(program)
	if err != nil {
		return nil, err
	}
	if len(programs) == 1 {
		next.installed = programs[0].version
	}
	var list []containerdconfig.Version
	for _, p := range programs {
		may, err := o.linesOf(p, now)
		if err != nil {
			return nil, unversioned(o.path(p.path), err)
		}
		list = append(list, may...)
	}
	if len(programs) == 0 {
		list, err = o.linesOf(installation{}, now)
		if err != nil {
			return nil, unversioned("the containerd of this node", err)
		}
	}
	return list, nil
}

// linesOf returns the versions that a program may have.
func (o Observer) linesOf(p installation, now *running) ([]containerdconfig.Version, error) {
	version := p.version
	if version == "" && now != nil {
		version = now.version
	}
	if version == "" && (p.major == "" || majorOf(o.Wanted.Version) == p.major) {
		version = o.Wanted.Version
	}
	if version != "" {
		v, err := containerdconfig.ParseVersion(version)
		return []containerdconfig.Version{v}, err
	}
	lines := containerdconfig.Lines()
	return slices.DeleteFunc(lines, func(v containerdconfig.Version) bool { return p.major != "" && majorOf(v.String()) != p.major }), nil
}

// majorOf returns the first number of a version.
func majorOf(version string) string {
	v, err := containerdconfig.ParseVersion(version)
	switch {
	case err != nil:
		return ""
	case v.Before(2, 0, 0):
		return "1"
	}
	return "2"
}

// judgeLines judges the files by each version. All that would start with them
// must read the tree.
func (o Observer) judgeLines(next *outlook, lines []containerdconfig.Version, main string, named bool) {
	var refused error // by the last that would not start
	var right []containerdconfig.Version
	var wrong *containerdconfig.Reason // of the first that would not read the tree
	started := false
	for _, v := range lines {
		c, err := o.effective(main, named, v)
		if err != nil {
			refused = err
			continue
		}
		next.logins = o.addLogins(next.logins, c)
		reason := o.notReadBy(c)
		if reason == nil {
			right = append(right, v)
			next.disabled = c.NoCRI
		}
		if !started || reason != nil && wrong == nil {
			next.configPath, next.where = c.ConfigPath, o.where(c, main)
		}
		if wrong == nil {
			wrong = reason
		}
		started = true
		next.missing = c.Read[0].Missing
	}
	switch {
	case !started:
		next.reason = refused
	case wrong != nil:
		next.reason = o.explain(*wrong, right, next.missing)
	}
}

// addLogins adds the logins of a configuration that are not in the list yet.
func (o Observer) addLogins(list []doctor.Login, c containerdconfig.Config) []doctor.Login {
	for _, found := range c.Logins {
		where := o.path(found.At.File)
		if found.At.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, found.At.Line)
		}
		login := doctor.Login{Host: found.Host, Where: where, Table: found.At.Table}
		if !slices.Contains(list, login) {
			list = append(list, login)
		}
	}
	return list
}

// effective returns what a version makes of the files. named says that
// containerd is started with the main file, so that it does not start without
// it.
func (o Observer) effective(main string, named bool, v containerdconfig.Version) (containerdconfig.Config, error) {
	c, err := containerdconfig.Effective(o.files, main, v)
	switch {
	case err != nil:
		return c, o.rooted(err)
	case named && c.Read[0].Missing:
		return c, &fault.Fault{
			What:  "containerd does not start without its configuration",
			Where: o.path(main), Found: "no such file, and --config names it",
			Fix: "create it, or remove --config from containerd's command line",
		}
	}
	return c, nil
}

// reasonWithMap uses the config_path in the map for a containerd that has no
// configuration and does not run.
func (next outlook) reasonWithMap(o Observer) error {
	switch {
	case !next.missing || o.Wanted.ConfigPath == "":
		return next.reason
	case !containerdconfig.IsDir(o.Wanted.ConfigPath, o.Wanted.HostsDir):
		return &fault.Fault{
			What:  "config_path in the map is not hosts_dir",
			Found: fmt.Sprintf("the map sets config_path = %q, and hosts_dir is %q", o.Wanted.ConfigPath, o.Wanted.HostsDir),
			Fix:   "set both to the same directory",
		}
	}
	return nil
}

// notReadBy returns why a configuration does not lead to the tree, nil if it does.
// A disabled CRI pulls nothing; what it would read when enabled counts.
func (o Observer) notReadBy(c containerdconfig.Config) *containerdconfig.Reason {
	if c.Enabled().NotReading(o.Wanted.HostsDir) == nil {
		return nil
	}
	return c.NotReading(o.Wanted.HostsDir)
}

// warnings returns what keeps images from being pulled although the tree is read.
func (o Observer) warnings(next outlook) []doctor.Finding {
	if next.disabled == nil {
		return nil
	}
	f := o.fault(*next.disabled)
	return []doctor.Finding{{Name: doctor.CRIDisabled, Where: f.Where, Text: next.disabled.Text + ", so the kubelet can pull no image at all", Repair: f.Fix}}
}

// explain returns why the files do not lead to the tree, and what the operator
// may add to the map if the version of containerd is unknown.
func (o Observer) explain(r containerdconfig.Reason, right []containerdconfig.Version, missing bool) error {
	f := o.fault(r)
	switch {
	case len(right) > 0:
		f.Fix += fmt.Sprintf("; or, if this node has containerd %s, write version = %q under [containerd] in the map", right[len(right)-1], right[len(right)-1])
	case missing:
		f.Fix += "; or, if it is set in another way, write config_path under [containerd] in the map"
	}
	return f
}

// where returns what sets the config_path in effect, "" if no file does.
func (o Observer) where(c containerdconfig.Config, main string) string {
	switch {
	case c.Read[0].Missing:
		return ""
	case c.Set.File == "":
		return o.path(main)
	case c.Set.Line == 0:
		return o.path(c.Set.File)
	}
	return fmt.Sprintf("%s:%d", o.path(c.Set.File), c.Set.Line)
}
