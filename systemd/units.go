// Package systemd connects mirrorcred with the systemd of its node: it has the units
// that run mirrorcred, the notices about readiness and the watchdog, and the restart of
// the kubelet.
//
// It does not decide whether and when a kubelet should restart; see
// cmd/internal/watch. Package unitfile reads the units of other programs. Start
// at [Units], [NewNotifier] and [Connect].
package systemd

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Program is the default path of mirrorcred in the units.
const Program = "/usr/local/bin/mirrorcred"

// The names of the units. A node has one of the first two enabled, and both start the
// path when they start.
const (
	WatchUnit       = "mirrorcred.service"         // the daemon
	ApplyUnit       = "mirrorcred-apply.service"   // one run at boot, for nodes without the daemon
	DeliverUnit     = "mirrorcred-deliver.service" // asks registries, for either
	DeliverPathUnit = "mirrorcred-deliver.path"    // starts it while the map needs that
)

//go:embed mirrorcred.service
var watchText string

//go:embed mirrorcred-apply.service
var applyText string

//go:embed mirrorcred-deliver.service
var deliverText string

//go:embed mirrorcred-deliver.path
var deliverPathText string

//go:embed mirrorcred.conf
var tmpfilesText string

// A Unit is a file to install for systemd, with mode 0644. Its first line says
// that mirrorcred installed it, and lets [Edited] recognise a file that was
// changed.
type Unit struct {
	Name string
	Path string
	Data []byte
}

// plainPath matches the paths that need no quoting on an ExecStart line: without
// spaces, quotes, "%", "$" and "\".
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+-]+$`)

// Units returns the files to install, for a mirrorcred at the path program; ""
// means [Program]. They are in /etc because /usr is read-only on some nodes.
// They take effect after "systemctl daemon-reload" and "systemd-tmpfiles
// --create".
func Units(program string) ([]Unit, error) {
	if program == "" {
		program = Program
	}
	if !plainPath.MatchString(program) || path.Clean(program) != program {
		return nil, fmt.Errorf("program %q cannot be named in a unit; write an absolute path of letters, digits and \"/._+-\"", program)
	}
	unit := func(dir, name, text string) Unit {
		text = strings.ReplaceAll(text, "\nExecStart="+Program+" ", "\nExecStart="+program+" ")
		return Unit{name, path.Join(dir, name), seal(text)}
	}
	return []Unit{
		unit("/etc/systemd/system", WatchUnit, watchText),
		unit("/etc/systemd/system", ApplyUnit, applyText),
		unit("/etc/systemd/system", DeliverUnit, deliverText),
		unit("/etc/systemd/system", DeliverPathUnit, deliverPathText),
		unit("/etc/tmpfiles.d", "mirrorcred.conf", tmpfilesText),
	}, nil
}
