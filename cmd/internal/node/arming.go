package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkArmed returns a [NotArmedError] if the plugin must not return a
// credential on this node: containerd must read exactly hosts_dir. If it reads
// another directory, or none, a pull goes to the source and takes the mirror's
// credential with it.
func (n *Node) checkArmed(ctx context.Context, c mirror.Containerd) (containerd.Verdict, error) {
	observer := containerd.Observer{Root: n.Root, Offline: n.elsewhere, Wanted: c, Dry: n.dry, Overlay: n.Overlay}
	v, err := observer.Verdict(ctx)
	n.inputs.containerd = v.Inputs
	// Without mirrors nothing is answered, whatever containerd reads.
	if err == nil && v.NotArmed != nil && !n.Empty {
		err = &NotArmedError{unarmed(v.NotArmed), v.Next}
	}
	return v, err
}

// unarmed returns the reason as a fault, with what it means for the node.
func unarmed(reason error) error {
	f := fault.Of(reason)
	f.Until = plan.MirrorsOff
	if f.What == "" {
		f.What = "containerd is not known to read mirrorcred's hosts.toml files"
	}
	return f
}

// stillArmed is [Node.checkArmed] for a node with a fault in its map: the
// plugin goes on with what the last good map left, as long as containerd reads
// it. The state has the place of containerd, and the routes name their trees.
func (n *Node) stillArmed(ctx context.Context, routes func() (plan.RouteFiles, error)) error {
	read, err := routes()
	if err != nil {
		return err
	}
	s, err := n.readState()
	if err != nil {
		return err
	}
	c := s.Containerd
	if c == (mirror.Containerd{}) {
		c = mirror.Containerd{Config: mirror.DefaultContainerdConfig, Address: mirror.DefaultAddress}
		if _, err := n.tree.Stat(n.path(c.Config)); errors.Is(err, fs.ErrNotExist) {
			return nil // it is elsewhere, and a guess must remove nothing
		}
	}
	if n.inputs == nil {
		n.inputs = &inputs{address: c.Address}
	}
	for _, dir := range read.HostsDirs(c.HostsDir) {
		c.HostsDir = dir
		v, err := n.checkArmed(ctx, c)
		var unarmed *NotArmedError
		if errors.As(err, &unarmed) {
			return unarmed
		}
		if err == nil {
			n.rearmed = &v.Record
		}
	}
	return nil
}

// record is the file that tells the plugin what the node is armed by.
const record = plan.StateDir + "/" + armed.FileName

// arm writes the record of what the node is armed by, if it changed.
func (n *Node) arm(r armed.Record) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	name := n.path(record)
	if old, info, err := n.tree.Read(name, 0); err == nil && bytes.Equal(old, data) && isClosed(info) {
		return nil
	}
	return n.disk.write([]file{{path: name, data: data, mode: 0o600}})
}

// rearm is [Node.arm] for a plan that is not carried out, such as with a faulty
// map: the routes stay, but containerd may have been restarted.
func (n *Node) rearm() error {
	r := n.rearmed
	n.rearmed = nil
	if r == nil {
		return nil
	}
	if _, err := n.tree.Lstat(n.path(record)); err != nil {
		return nil // there is nothing to arm
	}
	return n.arm(*r)
}

// stopUnarmed writes the marker that stops the plugin if the node is not armed.
// It is for a run that cannot do more, because another run holds the lock or
// the disk cannot be written.
func (n *Node) stopUnarmed(ctx context.Context) error {
	m, _, err := n.readMap()
	if err != nil {
		err = n.stillArmed(ctx, func() (plan.RouteFiles, error) { return n.readRoutes(n.path(plan.RoutesDir)) })
	} else {
		_, err = n.checkArmed(ctx, m.Containerd)
	}
	var unarmed *NotArmedError
	if !errors.As(err, &unarmed) {
		return nil
	}
	return errors.Join(unarmed, armed.Stop(n.Root, unarmed.Error()))
}

// disarm stops the plugin from returning anything: it writes the marker, which
// needs neither the disk nor the lock; it removes the record, which needs the
// disk but lasts; and it removes the routes, all at once or, if they cannot be
// renamed, one by one. The error names what is left.
func (n *Node) disarm(reason error) error {
	stopped := armed.Stop(n.Root, reason.Error())
	if stopped != nil {
		stopped = fmt.Errorf("the plugin cannot be stopped by %s: %w", n.path(armed.Marker), stopped)
	}
	return errors.Join(stopped, n.forgetArming(), n.removeRoutes())
}

// forgetArming removes the record, without which the plugin returns nothing.
func (n *Node) forgetArming() error {
	if _, err := n.tree.Lstat(n.path(record)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return n.disk.remove([]string{n.path(record)})
}

// removeRoutes removes the directory of the routes, or as much of it as it can.
func (n *Node) removeRoutes() error {
	dir := n.path(plan.RoutesDir)
	entries, err := n.readDir(n.path(plan.StateDir))
	if err != nil {
		return err
	}
	if err := n.disk.discard(leftovers(n.tree, n.path(plan.StateDir), entries), nil); err != nil {
		return err
	}
	if _, err := n.tree.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	first := n.disk.removeDirs([]string{dir})
	if first == nil {
		return nil
	}
	entries, err = n.readDir(dir)
	if err != nil {
		return errors.Join(first, err)
	}
	left := 0
	for _, e := range entries {
		if err := n.disk.remove([]string{filepath.Join(dir, e.Name())}); err != nil {
			left, first = left+1, err
		}
	}
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d of the routes in %s cannot be removed: %w; remove them by hand, or the plugin may use them again after a reboot", left, dir, first)
}
