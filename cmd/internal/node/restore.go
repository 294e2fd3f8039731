package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// previousFile keeps what the kubelet's configuration was before our last
// change, for when the kubelet does not come up with what it is now.
const previousFile = stateDir + "/kubelet-config.previous"

// A previous is one file of the kubelet's, as it was.
type previous struct {
	Path string      `json:"path"` // on the node
	Data []byte      `json:"data"` // nil where the file was not there
	Mode fs.FileMode `json:"mode"`
	// BinDir is where the providers in it are.
	BinDir string `json:"bin_dir"`
}

// keepPrevious keeps a file of the kubelet's before it is changed. Other
// providers' environments in it may hold secrets.
func (n *Node) keepPrevious(c Change, binDir string) error {
	data, err := json.Marshal(previous{c.Path, c.Old, c.mode, binDir})
	if err != nil {
		return fmt.Errorf("keep %s: %w", c.Path, err)
	}
	return n.disk.write([]file{{path: n.path(previousFile), data: append(data, '\n'), mode: 0o600}})
}

// RestoreKubelet puts the kubelet's configuration back to what it was before
// our last change, and remembers not to make that change again until it is
// another one or [Node.Retry] is set. The error says where there is nothing to
// go back to.
func (n *Node) RestoreKubelet(ctx context.Context) error {
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	data, err := os.ReadFile(n.path(previousFile))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the kubelet's configuration was not changed by mirrorcred, so there is nothing to put back")
	}
	if err != nil {
		return describe(err)
	}
	var old previous
	if err := json.Unmarshal(data, &old); err != nil || old.Data == nil {
		return fmt.Errorf("there was no %s before, so there is nothing to put back", old.Path)
	}
	s, err := n.readState()
	if err != nil {
		return err
	}
	s.Rejected, s.Memo = s.Memo.Provider, memo{}
	if err := n.writeState(s); err != nil {
		return err
	}
	entries := ourEntries(s.newest(mirror.Stock) != nil, kubeletconfig.File{Name: filepath.Base(old.Path), Data: old.Data})
	if err := n.restoreLinks(old.BinDir, entries); err != nil {
		return err
	}
	if err := n.disk.write([]file{{path: n.path(old.Path), data: old.Data, mode: old.Mode}}); err != nil {
		return err
	}
	now, err := n.host.now()
	if err != nil {
		return err
	}
	s.provide(entries, now, nil)
	if err := n.writeState(s); err != nil {
		return err
	}
	return n.disk.remove([]string{n.path(previousFile)})
}
