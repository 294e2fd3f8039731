package systemd

import (
	_ "embed"
	"path"
)

// InstallerDir is where the installer of a DaemonSet puts the two programs.
const InstallerDir = "/usr/local/lib/mirrorcred"

// The units that the installer starts. Each runs once, on the node.
const (
	BootstrapUnit = "mirrorcred-bootstrap.service" // sets the node up
	UndoUnit      = "mirrorcred-undo.service"      // takes that back
)

//go:embed mirrorcred-bootstrap.service
var bootstrapText string

//go:embed mirrorcred-undo.service
var undoText string

// InstallerUnits returns the units that the installer starts.
func InstallerUnits() []Unit {
	unit := func(name, text string) Unit {
		return Unit{name, path.Join("/etc/systemd/system", name), seal(text)}
	}
	return []Unit{unit(BootstrapUnit, bootstrapText), unit(UndoUnit, undoText)}
}
