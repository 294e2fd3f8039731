// Package systemd is what mirrorcred and the service manager of its node say to
// each other. The node's manager is given units that run mirrorcred, is told how
// it fares, and is asked to restart the kubelet.
//
// Whether and when a kubelet should restart is not decided here; see
// cmd/internal/node. Start at [Units], [NewNotifier] and [Connect].
package systemd

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Program is where the units look for mirrorcred unless told otherwise.
const Program = "/usr/local/bin/mirrorcred"

// The names of the units. A node has one of the two services enabled.
const (
	WatchUnit = "mirrorcred.service"       // the daemon
	ApplyUnit = "mirrorcred-apply.service" // one run at boot, for nodes without the daemon
)

//go:embed mirrorcred.service
var watchText string

//go:embed mirrorcred-apply.service
var applyText string

//go:embed mirrorcred.conf
var tmpfilesText string

// A Unit is a file of the service manager's, to be installed with mode 0644.
type Unit struct {
	Name string
	Path string
	Data []byte
}

// plainPath matches the paths that mean themselves on an ExecStart line, where
// spaces, quotes, "%", "$" and "\" do not.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+-]+$`)

// Units returns the files to install, in /etc because /usr is read-only on some
// nodes, for a mirrorcred at the path program; "" is [Program]. They are in
// force after "systemctl daemon-reload" and "systemd-tmpfiles --create".
func Units(program string) ([]Unit, error) {
	if program == "" {
		program = Program
	}
	if !plainPath.MatchString(program) || path.Clean(program) != program {
		return nil, fmt.Errorf("program %q cannot be named in a unit; write an absolute path of letters, digits and \"/._+-\"", program)
	}
	unit := func(dir, name, text string) Unit {
		text = strings.ReplaceAll(text, "\nExecStart="+Program+" ", "\nExecStart="+program+" ")
		return Unit{name, path.Join(dir, name), []byte(text)}
	}
	return []Unit{
		unit("/etc/systemd/system", WatchUnit, watchText),
		unit("/etc/systemd/system", ApplyUnit, applyText),
		unit("/etc/tmpfiles.d", "mirrorcred.conf", tmpfilesText),
	}, nil
}
