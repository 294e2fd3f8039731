package node

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var errLinkNowhere = errors.New("this symbolic link leads nowhere; create its target, or remove it")

func (d *disk) mkdir(path string, mode fs.FileMode) error {
	if err := d.before("mkdir", path); err != nil {
		return err
	}
	if err := d.tree.Mkdir(path, mode); err != nil {
		return describe(err)
	}
	return nil
}

// mkdirAll makes a directory and those above it, and syncs what it made.
func (d *disk) mkdirAll(path string, mode fs.FileMode) error {
	info, err := d.tree.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return describe(&fs.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR})
	case !errors.Is(err, fs.ErrNotExist):
		return describe(err)
	}
	if _, err := d.tree.Lstat(path); err == nil {
		return describe(&fs.PathError{Op: "mkdir", Path: path, Err: errLinkNowhere})
	}
	if err := d.mkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	if err := d.mkdir(path, mode); err != nil {
		if info, now := d.tree.Stat(path); now == nil && info.IsDir() && errors.Is(err, fs.ErrExist) {
			return nil // another program made it meanwhile
		}
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d *disk) chmod(path string, mode fs.FileMode) error {
	info, err := d.tree.Stat(path)
	if err == nil && info.Mode().Perm() == mode {
		return nil
	}
	if err := d.before("chmod", path); err != nil {
		return err
	}
	if err := d.tree.ChmodDir(path, mode); err != nil {
		return describe(err)
	}
	return nil
}

func (d *disk) syncDir(path string) error {
	if err := d.before("sync", path); err != nil {
		return err
	}
	if err := d.tree.SyncDir(path); err != nil {
		return describe(err)
	}
	return nil
}

// syncParents syncs the directories that the paths are in, each once.
func (d *disk) syncParents(paths []string) error {
	seen := map[string]bool{}
	var dirs []string
	for _, path := range paths {
		if dir := filepath.Dir(path); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) >= manyFiles {
		return d.syncAll(dirs)
	}
	for _, dir := range dirs {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// syncAll syncs the file systems that directories are on, each once.
func (d *disk) syncAll(paths []string) error {
	looked, seen := map[string]bool{}, map[uint64]bool{}
	for _, path := range paths {
		if looked[path] {
			continue
		}
		looked[path] = true
		device, err := d.tree.Device(path)
		if err != nil {
			return describe(err)
		}
		if seen[device] {
			continue
		}
		seen[device] = true
		if err := d.before("syncfs", path); err != nil {
			return err
		}
		if err := d.tree.SyncFS(path); err != nil {
			return describe(err)
		}
	}
	return nil
}
