package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (d *disk) mkdir(path string, mode fs.FileMode) error {
	if err := d.before("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		return describe(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		return describe(err)
	}
	return nil
}

// mkdirAll makes a directory and those above it, and syncs what it made.
func (d *disk) mkdirAll(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return describe(&fs.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR})
	case !errors.Is(err, fs.ErrNotExist):
		return describe(err)
	}
	if err := d.mkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	if err := d.mkdir(path, mode); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d *disk) chmod(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() == mode {
		return nil
	}
	if err := d.before("chmod", path); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return describe(err)
	}
	return nil
}

func (d *disk) syncDir(path string) error {
	if err := d.before("sync", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return describe(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
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

// syncAll syncs the file systems that the paths are on, each once.
func (d *disk) syncAll(paths []string) error {
	seen := map[uint64]bool{}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return describe(&fs.PathError{Op: "stat", Path: path, Err: err})
		}
		if seen[st.Dev] {
			continue
		}
		seen[st.Dev] = true
		if err := d.before("syncfs", path); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return describe(err)
		}
		err = unix.Syncfs(int(f.Fd()))
		f.Close()
		if err != nil {
			return describe(&fs.PathError{Op: "sync", Path: path, Err: err})
		}
	}
	return nil
}
