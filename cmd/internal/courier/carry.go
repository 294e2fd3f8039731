package courier

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// temporary begins the names of files that are not in place yet. The watcher
// ignores them.
const temporary = ".mirrorcred-"

// A carrier copies a map to the host, whole or not at all.
type carrier struct {
	to   string
	tree durable.Tree
	// step is called before each system call that changes something; an error
	// stops the run there. nil in production.
	step func(op string) error
	// allowed is the file with what the map may name on the node, "" if that is not
	// known here.
	allowed string
	// parsed are the hashes of the last map that had no fault, and of the list that it
	// was compared with: it is not parsed again.
	parsed string
}

// run copies the map unless it has a fault or lies there already, and returns its
// hash. After an error, what lay there before still does.
func (c *carrier) run(from string) (hash string, err error) {
	data, err := input.ReadFile(from, node.MaxDelivered)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s does not exist; mount the ConfigMap there, with the key %s; the map that was delivered last stays", from, filepath.Base(from))
	}
	if err != nil {
		return "", err
	}
	hash = hosts.Hash(data)
	if err := c.judge(from, hash, data); err != nil {
		return "", err
	}
	c.clean()
	there, info, err := input.ReadNoFollow(c.to, node.MaxDelivered)
	if err == nil && bytes.Equal(there, data) && info.Mode().Perm() == 0o644 {
		return hash, nil
	}
	if err := c.write(data); err != nil {
		return "", err
	}
	return hash, nil
}

// judge parses the map, and compares it with the list if there is one.
func (c *carrier) judge(from, hash string, data []byte) error {
	var list []byte
	if c.allowed != "" {
		var err error
		list, err = input.ReadFile(c.allowed, node.MaxDelivered)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s does not exist; mount there what the node allows, or leave out --allowed", c.allowed)
		}
		if err != nil {
			return err
		}
		hash += hosts.Hash(list)
	}
	if hash == c.parsed {
		return nil
	}
	var allowed *mirror.Allowed
	if list != nil {
		var err error
		// The faults of the map name the list as the node has it.
		if allowed, err = mirror.ParseAllowed(node.AllowedFile, list); err != nil {
			return err
		}
	}
	if _, err := mirror.ParseDelivered(from, data, allowed); err != nil {
		return err
	}
	c.parsed = hash
	return nil
}

// clean removes what killed couriers left.
func (c *carrier) clean() {
	entries, err := c.tree.ReadDir(filepath.Dir(c.to))
	if err != nil {
		return // writing says why
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			_ = c.tree.Remove(filepath.Join(filepath.Dir(c.to), e.Name()))
		}
	}
}

func (c *carrier) before(op string) error {
	if c.step == nil {
		return nil
	}
	return c.step(op)
}

// write puts the map into place, so that it survives a power cut.
func (c *carrier) write(data []byte) (err error) {
	dir := filepath.Dir(c.to)
	name := filepath.Join(dir, temporary+strconv.FormatUint(rand.Uint64(), 36))
	if err := c.build(name, data); err != nil {
		if c.step == nil {
			_ = c.tree.Remove(name)
		}
		return err
	}
	if err := c.before("rename"); err != nil {
		return err
	}
	if err := c.tree.Rename(name, c.to); err != nil {
		_ = c.tree.Remove(name)
		return fmt.Errorf("%w; remove what is there", err)
	}
	if err := c.before("sync directory"); err != nil {
		return err
	}
	return c.tree.SyncDir(dir)
}

// build writes a file that is not in place yet.
func (c *carrier) build(name string, data []byte) (err error) {
	if err := c.before("create"); err != nil {
		return err
	}
	f, err := c.tree.Create(name, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := c.before("write"); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	// The umask does not matter.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := c.before("sync"); err != nil {
		return err
	}
	return f.Sync()
}
