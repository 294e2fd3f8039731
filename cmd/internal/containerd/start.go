package containerd

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// A Start is how a node's containerd will be started next.
type Start struct {
	Config string // the main configuration file
	// Named says that the command line names the file, so that containerd does not
	// start without it.
	Named bool
	// Versions are the releases that it may be, oldest first: one if that is known.
	Versions []containerdconfig.Version
	// Runs says that a containerd runs now, and Unit is its service, "" if that is
	// not known.
	Runs bool
	Unit string
	// Files are the node's, as one look sees them.
	Files containerdconfig.Files
}

// onNode are the files by their paths on the node.
type onNode struct{ containerdconfig.Files }

// Start returns how containerd will be started next. Nothing is judged.
func (o Observer) Start(ctx context.Context) (Start, error) {
	if o.sys == nil {
		o.sys = thisMachine()
	}
	o.files = newFiles(o.path, o.tree().Root)
	o.files.overlay = o.Overlay
	var now *running
	if !o.Offline {
		var err error
		var unknown *unknownError
		if now, err = o.query(ctx); err != nil && !errors.As(err, &unknown) {
			return Start{}, err
		}
	}
	b := o.nextStart(now)
	if !path.IsAbs(b.main) {
		return Start{}, fmt.Errorf("containerd is started with --config=%s; start it with an absolute path", b.main)
	}
	s := Start{Config: b.main, Named: b.named, Files: onNode{o.files}, Runs: now != nil}
	if now != nil {
		s.Unit = now.process.unit
	}
	var next outlook
	var err error
	s.Versions, err = o.lines(&next, b.program, now)
	return s, err
}
