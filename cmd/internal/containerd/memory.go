package containerd

import (
	"encoding/json"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
)

// Files in /run, which is empty after a boot, when the processes are gone too.
const (
	runDir     = "/run/mirrorcred"
	memoryFile = runDir + "/containerd.json"
)

// A memory is what was found out about a process that does not report what it
// reads. It holds as long as that process runs, even if its files change:
// containerd reads them once.
type memory struct {
	Process    armed.Process `json:"process"`
	Version    string        `json:"version"`
	ConfigPath string        `json:"config_path"`
	// Untold says that nothing showed whether the wall clock had been set, so the
	// times of files were taken as they are.
	Untold bool `json:"untold,omitempty"`
}

// recall reads a file in /run into v, which stays as it is if the file is
// missing or damaged.
func (o Observer) recall(file string, v any) {
	if data, err := o.tree().ReadFile(o.path(file), 0); err == nil {
		_ = json.Unmarshal(data, v) // a damaged file counts as missing
	}
}

// store writes a file for the next time, whole or not at all. It need not
// survive a power cut: nothing in /run does.
func (o Observer) store(file string, v any) error {
	if o.Dry {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.tree().Replace(o.path(file), append(data, '\n'))
}
