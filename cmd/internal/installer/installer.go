// Package installer puts mirrorcred on a node from a pod, and takes it off again.
//
// It only writes files below a few of the node's directories and starts one-shot units:
// what changes containerd or the kubelet runs on the node, by "mirrorcred bootstrap".
// Start at [Installer].
package installer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
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
	bus, err := i.Connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := i.start(ctx, bus, systemd.BootstrapUnit); err != nil {
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

// put writes the programs and the units. A unit that the operator has edited is
// replaced too: what the installer starts must be what it has brought.
func (i *Installer) put() error {
	if err := i.mounted(dir, "/etc/systemd/system"); err != nil {
		return err
	}
	for _, to := range []string{plugin, manager} {
		data, err := i.program(path.Base(to))
		if err != nil {
			return err
		}
		if err := i.write(to, data, 0o755); err != nil {
			return err
		}
	}
	for _, u := range systemd.InstallerUnits() {
		if err := i.write(u.Path, u.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// program reads a program to install.
func (i *Installer) program(name string) ([]byte, error) {
	for _, dir := range i.Programs {
		data, err := input.ReadFile(filepath.Join(dir, name), mostFile)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, fmt.Errorf("%s is in none of %s; use the image that \"make dist\" makes, or put both programs into one directory", name, strings.Join(i.Programs, ", "))
}

// putSettings writes what the values of the chart say, or removes what earlier ones
// said.
func (i *Installer) putSettings() error {
	var list []byte
	if i.Allowed != "" {
		var err error
		if list, err = input.ReadFile(i.Allowed, mostFile); err != nil {
			return err
		}
	}
	if err := i.writeOrRemove(allowed, list); err != nil {
		return err
	}
	var bake, flags []byte
	if i.Bake {
		bake = []byte("[Service]\nExecStartPre=" + manager + " bootstrap bake\n")
	}
	if i.WatchFlags != "" {
		if strings.ContainsAny(i.WatchFlags, "\"'\\%$\n") {
			return fmt.Errorf("flags %q: a unit cannot have them; write them without quotes, \"%%\", \"$\" and \"\\\"", i.WatchFlags)
		}
		flags = []byte("# The installer of the DaemonSet writes this; /etc/default/mirrorcred wins.\n[Service]\nEnvironment=\"MIRRORCRED_FLAGS=" + i.WatchFlags + "\"\n")
	}
	return errors.Join(i.writeOrRemove(bakeConf, bake), i.writeOrRemove(flagsConf, flags))
}

// deliver gives a node its first map, because the courier starts after the installer,
// and bootstrap needs a map. Once a courier has run, which its lock shows, the map is
// the courier's.
func (i *Installer) deliver() error {
	if i.Map == "" {
		return nil
	}
	if _, err := i.tree.Lstat(i.at(delivered + "/courier.lock")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := input.ReadFile(i.Map, mostFile)
	if err != nil {
		return err
	}
	if err := i.judge(data); err != nil {
		return err
	}
	if err := i.mounted(delivered); err != nil {
		return err
	}
	return i.write(delivered+"/mirrors.toml", data, 0o644)
}

// judge parses the map as the node will: with the list of what it may name, if that
// comes with it. The node's own list is out of the pod's reach.
func (i *Installer) judge(data []byte) error {
	var list *mirror.Allowed
	if i.Allowed != "" {
		text, err := input.ReadFile(i.Allowed, mostFile)
		if err != nil {
			return err
		}
		if list, err = mirror.ParseAllowed(i.Allowed, text); err != nil {
			return err
		}
	}
	_, err := mirror.ParseDelivered(i.Map, data, list)
	return err
}

// write puts a file in place, whole or not at all, if it differs.
func (i *Installer) write(name string, data []byte, mode fs.FileMode) error {
	old, err := i.tree.ReadFile(i.at(name), mostFile)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := i.tree.MkdirAll(path.Dir(i.at(name)), 0o755); err != nil {
		return err
	}
	return i.node.Install(name, data, mode)
}

// writeOrRemove writes a file, or removes it if there is nothing to write.
func (i *Installer) writeOrRemove(name string, data []byte) error {
	if data != nil {
		return i.write(name, data, 0o644)
	}
	err := i.tree.Remove(i.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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
