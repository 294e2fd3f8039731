// Package installer puts mirrorcred on a node from a pod, and takes it off again.
//
// It only writes files below a few of the node's directories and starts one-shot units:
// what changes containerd or the kubelet runs on the node, by "mirrorcred bootstrap".
// Start at [Installer].
package installer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// Where things are on the node. The pod has the same paths.
const (
	dir       = systemd.InstallerDir
	manager   = dir + "/mirrorcred"
	plugin    = dir + "/mirror-credential-provider"
	allowed   = dir + "/allowed.toml"
	unitLog   = dir + "/bootstrap.log"
	bakeConf  = "/etc/systemd/system/" + systemd.BootstrapUnit + ".d/installer.conf"
	flagsConf = "/etc/systemd/system/" + systemd.WatchUnit + ".d/installer.conf"
	delivered = node.DeliveredDir
)

// mostFile is the largest file that is copied, in bytes.
const mostFile = 128 << 20

// A Bus is what is asked of the node's systemd.
type Bus interface {
	Reload(ctx context.Context) error
	Restart(ctx context.Context, unit string) error
	State(ctx context.Context, unit string) (systemd.State, error)
	Close()
}

// An Installer is what to put on a node.
type Installer struct {
	// Programs are the directories in which the two programs to install are.
	Programs []string
	// Map is the map that the node is set up with if no courier has run there yet, ""
	// for none.
	Map string
	// Allowed is the file with what a delivered map may name; "" leaves the node's
	// own.
	Allowed string
	// Bake sets containerd's config_path too, if it is not set.
	Bake bool
	// DryRun prints to Out what would be done, and does nothing.
	DryRun bool
	// WatchFlags are flags of "mirrorcred watch".
	WatchFlags string
	// Connect connects to the node's systemd.
	Connect func(context.Context) (Bus, error)
	// Out is where the output of the unit is copied to.
	Out io.Writer
	// Root is the directory that the node's paths are below, "" in a pod.
	Root string

	node *node.Node
	tree durable.Tree
}

func (i *Installer) open() {
	i.node, i.tree = node.New(i.Root, "", false), durable.Tree{Root: input.NewRoot(i.Root)}
}

// at returns the path on this machine of a path of the node.
func (i *Installer) at(name string) string { return filepath.Join("/", i.Root, name) }

// Install puts mirrorcred on the node and has it set up. It may be run again at any
// time: it writes what has changed, and restarts the watcher only if it is older than
// its program or its flags.
func (i *Installer) Install(ctx context.Context) error {
	i.open()
	if err := i.mounted(dir, "/etc/systemd/system"); err != nil {
		return err
	}
	if err := i.deliver(); err != nil {
		return err
	}
	if err := i.put(); err != nil {
		return err
	}
	if err := i.putSettings(); err != nil {
		return err
	}
	if i.DryRun {
		return i.would("run %s on the node, and restart %s if its program or its flags are new", systemd.BootstrapUnit, systemd.WatchUnit)
	}
	bus, err := i.Connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := i.setUp(ctx, bus); err != nil {
		return err
	}
	return i.renew(ctx, bus)
}

// Undo takes mirrorcred off the node. It does nothing on a node that no installer has
// set up.
func (i *Installer) Undo(ctx context.Context) error {
	i.open()
	for _, name := range []string{manager, "/etc/systemd/system/" + systemd.BootstrapUnit, "/etc/systemd/system/" + systemd.UndoUnit} {
		_, err := i.tree.Lstat(i.at(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		return i.undo(ctx)
	}
	_, err := io.WriteString(i.Out, "nothing to undo: no installer has set up this node\n")
	return err
}

func (i *Installer) undo(ctx context.Context) error {
	if err := i.put(); err != nil {
		return err
	}
	if i.DryRun {
		return i.would("run %s on the node", systemd.UndoUnit)
	}
	bus, err := i.Connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := i.start(ctx, bus, systemd.UndoUnit); err != nil {
		return err
	}
	return bus.Reload(ctx)
}

// mounted checks that the node's directories are there. If they are not, the pod
// would set up its own container.
func (i *Installer) mounted(dirs ...string) error {
	for _, dir := range dirs {
		if info, err := i.tree.Stat(i.at(dir)); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is not a directory; mount the node's into the pod as a hostPath", i.at(dir))
		}
	}
	return nil
}

// start runs a one-shot unit to its end, and copies what it printed. A run of an
// earlier installer is stopped first: it has another program.
func (i *Installer) start(ctx context.Context, bus Bus, unit string) error {
	// Opened before: the unit that undoes everything removes its log too.
	if err := i.writeOrRemove(unitLog, nil); err != nil {
		return err
	}
	if err := i.node.Install(unitLog, nil, 0o644); err != nil {
		return err
	}
	log, _, err := input.Open(i.at(unitLog))
	if err != nil {
		return err
	}
	defer log.Close()
	if err := bus.Reload(ctx); err != nil {
		return err
	}
	err = bus.Restart(ctx, unit)
	n, copyErr := io.Copy(i.Out, log)
	if n == 0 && copyErr == nil {
		_, copyErr = fmt.Fprintf(i.Out, "%s printed nothing here; on the node, see: journalctl -u %s\n", unit, unit)
	}
	return errors.Join(err, copyErr)
}

// renew restarts the watcher if it was started before its program or its flags were
// written. It goes by times, so that an installer that was killed in between is made
// up for.
func (i *Installer) renew(ctx context.Context, bus Bus) error {
	state, err := bus.State(ctx, systemd.WatchUnit)
	if err != nil || state.Active != "active" || state.StartedAt.IsZero() {
		return nil // the operator runs it in another way, or not at all
	}
	var newest time.Time
	for _, name := range []string{manager, flagsConf} {
		info, err := i.tree.Stat(i.at(name))
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if state.StartedAt.After(newest) {
		return nil
	}
	return bus.Restart(ctx, systemd.WatchUnit)
}
