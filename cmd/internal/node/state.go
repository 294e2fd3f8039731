package node

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// readState returns the state, the zero one if there is none. A damaged one
// counts as missing: only waiting depends on it.
func (n *Node) readState() (plan.State, error) {
	data, err := n.tree.ReadFile(n.path(stateFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.State{}, nil
	}
	if err != nil {
		return plan.State{}, describe(err)
	}
	var s plan.State
	if json.Unmarshal(data, &s) != nil {
		return plan.State{}, nil
	}
	return s, nil
}

// machineIDFile has the machine's own name, in an image nothing or "uninitialized"
// (machine-id(5)).
const machineIDFile = "/etc/machine-id"

// MachineID returns a name of the node below a root that no other one has, "" if it
// has none yet. The machine's own one should not be told, so it is a hash of that.
func MachineID(tree *input.Root, root string) string {
	data, err := tree.ReadFile(filepath.Join(root, machineIDFile), 0)
	id := strings.TrimSpace(string(data))
	if _, bad := hex.DecodeString(id); err != nil || bad != nil || len(id) != 32 {
		return ""
	}
	return hosts.Hash([]byte("mirrorcred " + id))[:32]
}
