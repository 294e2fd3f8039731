package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// previousFile has the kubelet's configuration from before mirrorcred's last
// change, in case the kubelet does not start with the present one.
const previousFile = plan.StateDir + "/kubelet-config.previous"

// A previous is the earlier version of one of the kubelet's files.
type previous struct {
	Path string      `json:"path"` // on the node
	Data []byte      `json:"data"` // nil if the file did not exist
	Mode fs.FileMode `json:"mode"`
	// BinDir is where the providers in it are.
	BinDir string `json:"bin_dir"`
}

// backUpPrevious keeps one of the kubelet's files before it is changed. The
// environments of other providers in it may hold secrets.
func (n *Node) backUpPrevious(c plan.Change, binDir string) error {
	data, err := json.Marshal(previous{c.Path, c.Old, c.Mode, binDir})
	if err != nil {
		return fmt.Errorf("keep %s: %w", c.Path, err)
	}
	return n.disk.write([]file{{path: n.path(previousFile), data: append(data, '\n'), mode: 0o600}})
}

// putBack restores one of the kubelet's files, with the links that its
// providers need.
func (n *Node) putBack(old previous, entries []plan.Entry) error {
	if err := n.restoreLinks(old.BinDir, entries); err != nil {
		return err
	}
	place, err := n.follow(n.path(old.Path))
	if err != nil {
		return err
	}
	owner, err := n.ownerOf(place)
	if err != nil {
		return err
	}
	return n.disk.write([]file{{path: place, data: old.Data, mode: old.Mode, owner: owner}})
}

// RestoreKubelet rolls the kubelet's configuration back to before mirrorcred's
// last change, and remembers not to make the same change again unless
// [Node.Retry] is set. It is an error if there is nothing to roll back to.
func (n *Node) RestoreKubelet(ctx context.Context) error {
	unlock, err := n.lock(ctx, func() error { return nil })
	if err != nil {
		return err
	}
	defer unlock()
	data, err := n.tree.ReadFile(n.path(previousFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("mirrorcred has not changed the kubelet's configuration, so there is nothing to restore")
	}
	if err != nil {
		return describe(err)
	}
	var old previous
	if err := json.Unmarshal(data, &old); err != nil || old.Data == nil {
		return fmt.Errorf("there was no %s before, so there is nothing to restore", old.Path)
	}
	s, err := n.readState()
	if err != nil {
		return err
	}
	before := s
	s.Rejected, s.Memo, s.Stamp = s.Memo.Provider, plan.Memo{}, ""
	if err := n.writeState(s); err != nil {
		return err
	}
	entries := s.EntriesOf(kubeletconfig.File{Name: filepath.Base(old.Path), Data: old.Data})
	if err := n.putBack(old, entries); err != nil {
		// The state must not claim that the old configuration is back.
		return errors.Join(err, n.writeState(before))
	}
	now, err := n.host.now()
	if err != nil {
		return err
	}
	s.Provide(entries, now, nil, false)
	if err := n.writeState(s); err != nil {
		return err
	}
	return n.disk.remove([]string{n.path(previousFile)})
}
