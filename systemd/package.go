package systemd

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// InPackage returns the paths at which packages install the file. A file in /etc takes
// precedence over it (systemd.unit(5), tmpfiles.d(5)).
func (u Unit) InPackage() []string {
	kind := "systemd/system"
	if path.Ext(u.Name) == ".conf" {
		kind = "tmpfiles.d"
	}
	return []string{path.Join("/usr/lib", kind, u.Name), path.Join("/lib", kind, u.Name)}
}

// SameEffect reports whether systemd does the same with another file as with u, apart
// from the path of mirrorcred, and returns that path, "" if the file starts no program.
func (u Unit) SameEffect(data []byte) (program string, same bool) {
	lines, program := settings(data)
	own, _ := settings(u.Data)
	return program, slices.Equal(lines, own)
}

var started = regexp.MustCompile(`^(ExecStart=)(/\S+)`)

// settings returns the lines of a unit without comments, the programs that it starts
// replaced by [Program], and the last of these programs.
func settings(data []byte) (lines []string, program string) {
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if m := started.FindStringSubmatch(line); m != nil {
			program = m[2]
			line = m[1] + Program + line[len(m[0]):]
		}
		lines = append(lines, line)
	}
	return lines, program
}
