//go:build linux

// Package armed tells the plugin whether it may return credentials on this node
// at all.
//
// The manager finds that out (package containerd) and writes a [Record] of the
// reasons: the containerd that runs, its program, and the files that it reads.
// The plugin relies on the record while that containerd runs. After that, it
// relies on it only if those files alone show that containerd reads the
// mirrors, and have not changed. If the manager finds the opposite, it writes a
// marker in /run, which overrides every record.
//
// The package knows neither routes nor what the files mean. Start at [Record],
// [Check] and [Stopped].
package armed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// FileName is the name of the record, which is beside the directory of the
// routes.
const FileName = "armed.json"

// A Record is what a node is armed by.
type Record struct {
	// HostsDir is the directory that containerd reads.
	HostsDir string `json:"hosts_dir"`
	// Process is the containerd that ran; zero if none did.
	Process Process `json:"process,omitzero"`
	// Alone says that the files arm the node, whichever containerd starts with
	// them.
	Alone bool `json:"alone"`
	// Files are what that depends on.
	Files []File `json:"files,omitempty"`
}

// A Process is one run of a program. Its number may be reused; together with
// the start and the boot it is unique.
type Process struct {
	Boot  string        `json:"boot"`  // the kernel's boot_id
	PID   int           `json:"pid"`   // in the PID namespace of the manager
	Start time.Duration `json:"start"` // since that boot, in whole clock ticks
}

// sealed is a record on disk. If it was cut short or changed, it does not count.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the bytes of the record
	Record json.RawMessage `json:"record"`
}

// Encode returns the record as a file.
func (r Record) Encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	data, err = json.Marshal(sealed{sumOf(data), data})
	return append(data, '\n'), err
}

// decode parses a file that [Record.Encode] made.
func decode(data []byte) (Record, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil || s.SHA256 != sumOf(s.Record) {
		return Record{}, errors.New("it is cut short or was changed; run \"mirrorcred apply\"")
	}
	decoder := json.NewDecoder(bytes.NewReader(s.Record))
	decoder.DisallowUnknownFields()
	var r Record
	if err := decoder.Decode(&r); err != nil {
		return Record{}, errors.New("it is from another version of mirrorcred; install the plugin and the manager of one version, and run \"mirrorcred apply\"")
	}
	return r, nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Check returns why the plugin must return nothing for a tree, judging by the
// record beside a directory of routes. root is the directory that all paths are
// below, "" for this machine.
func Check(root, routes, hostsDir string) error {
	name := filepath.Join(root, filepath.Dir(routes), FileName)
	data, err := input.NewRoot(root).ReadFile(name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist, so it is not known whether containerd reads the mirrors; run \"mirrorcred apply\"", name)
	}
	if err != nil {
		return err
	}
	r, err := decode(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if r.HostsDir != hostsDir {
		return fmt.Errorf("containerd reads %s, but the route is for %s; run \"mirrorcred apply\"", r.HostsDir, hostsDir)
	}
	return r.holds(root)
}

// holds returns why containerd may read something else by now, nil if it cannot.
func (r Record) holds(root string) error {
	if root == "" && r.Process.runs() {
		return nil
	}
	anew := "containerd is not the one that was asked"
	if r.Process != (Process{}) {
		anew = fmt.Sprintf("containerd was restarted (it was process %d)", r.Process.PID)
	}
	if !r.Alone {
		return fmt.Errorf("%s, and its files alone do not say that it reads the mirrors; run \"mirrorcred apply\"", anew)
	}
	tree := input.NewRoot(root)
	for _, f := range r.Files {
		if changed := f.changed(root, tree); changed != nil {
			return fmt.Errorf("%s, and %w since; run \"mirrorcred apply\"", anew, changed)
		}
	}
	return nil
}
