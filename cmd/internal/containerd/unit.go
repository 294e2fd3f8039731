package containerd

import (
	"path"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// started returns the command line with which a systemd service starts
// containerd; nil if there is no such service, if it starts another program
// (k3s, for one, starts its own containerd), or if it uses a variable that may
// be set elsewhere.
func (o Observer) started(service string) []string {
	c, err := unitfile.ReadCommand(o.files, service)
	if err != nil || len(c.Argv) == 0 || path.Base(c.Argv[0]) != "containerd" || len(c.Unset) > 0 {
		return nil
	}
	return c.Argv
}
