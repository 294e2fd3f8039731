package installer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// The map on the node, and the lock of the courier that writes it.
const (
	deliveredMap = node.DeliveredDir + "/mirrors.toml"
	courierLock  = node.DeliveredDir + "/courier.lock"
)

// deliver gives a node its first map, because the courier starts after the installer,
// and bootstrap needs a map. Once a courier has run, which its lock shows, the map is
// the courier's.
func (i *Installer) deliver() error {
	if i.Map == "" {
		return nil
	}
	data, err := read(i.Map, "--map")
	if err != nil {
		return err
	}
	if err := i.mounted(delivered); err != nil {
		return err
	}
	if _, err := i.tree.Lstat(i.at(courierLock)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := i.judge(data); err != nil {
		return err
	}
	return i.write(deliveredMap, data, 0o644)
}

// setUp has the node set up. If that fails, it may be due to the map that an earlier
// courier delivered, such as one that the node does not allow. The courier with the
// repaired map starts only after the installer, so the pod's map is put there now.
func (i *Installer) setUp(ctx context.Context, bus Bus) error {
	err := i.start(ctx, bus, systemd.BootstrapUnit)
	if err == nil || i.Map == "" || ctx.Err() != nil {
		return err
	}
	isOther, replaceErr := i.replaceMap()
	if !isOther || replaceErr != nil {
		return errors.Join(err, replaceErr)
	}
	if _, err := fmt.Fprintf(i.Out, "the map in %s is now this pod's; the node is set up again with it\n", delivered); err != nil {
		return err
	}
	return i.start(ctx, bus, systemd.BootstrapUnit)
}

// replaceMap puts the pod's map in the place of the one that was delivered, and reports
// whether it did. It does not if they are equal, or while a courier runs on this node:
// that one is the writer.
func (i *Installer) replaceMap() (replaced bool, err error) {
	data, err := read(i.Map, "--map")
	if err != nil {
		return false, err
	}
	there, _, err := input.ReadNoFollow(i.at(deliveredMap), node.MaxDelivered)
	if err == nil && bytes.Equal(there, data) {
		return false, nil
	}
	if err := i.judge(data); err != nil {
		return false, err
	}
	lock, err := i.tree.OpenLock(i.at(courierLock))
	if err != nil {
		return false, err
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, i.node.Install(deliveredMap, data, 0o644)
}

// judge parses the map as the node will: with the list of what it may name, if that
// comes with it. The node's own list is out of the pod's reach.
func (i *Installer) judge(data []byte) error {
	var list *mirror.Allowed
	if i.Allowed != "" {
		text, err := read(i.Allowed, "--allowed")
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

// read reads a file that the pod has mounted, for the flag that names it.
func read(name, flag string) ([]byte, error) {
	data, err := input.ReadFile(name, node.MaxDelivered)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; mount it into the pod, or leave out %s", name, flag)
	}
	return data, err
}
