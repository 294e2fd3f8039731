package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// versionOf returns the version of a path: of the file or, for a directory, of
// the files in it. A link counts too: if it leads to another file, that is
// another version.
func versionOf(tree *input.Root, path string) (plan.Version, error) {
	var v plan.Version
	var all []byte
	add := func(name string, info fs.FileInfo) {
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return
		}
		changed := time.Unix(stat.Ctim.Unix())
		if changed.After(v.Changed) {
			v.Changed = changed
		}
		all = fmt.Appendf(all, "%q %d %d %d\n", name, stat.Dev, stat.Ino, changed.UnixNano())
		if info.Mode().IsRegular() {
			v.Files = append(v.Files, name)
		}
	}
	if info, err := tree.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		add(path, info)
	}
	info, err := tree.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Version{}, nil
	}
	if err != nil {
		return plan.Version{}, describe(err)
	}
	if !info.IsDir() {
		add(path, info)
	} else if err := addDir(tree, path, add); err != nil {
		return plan.Version{}, err
	}
	v.Stamp = hosts.Hash(all)
	return v, nil
}

// addDir adds the files in a directory. The directory's own time does not
// count, because it changes with temporary files. A removed file is missing
// from the stamp.
func addDir(tree *input.Root, dir string, add func(string, fs.FileInfo)) error {
	entries, err := tree.ReadDir(dir)
	if err != nil {
		return describe(err)
	}
	for _, e := range without(entries, isTemporary) {
		name := filepath.Join(dir, e.Name())
		info, err := tree.Stat(name)
		if err == nil && !info.IsDir() {
			add(name, info)
		}
	}
	return nil
}

// hasWriter reports whether a process has a file open for writing: then the
// kernel grants no read lease (fcntl(2), F_SETLEASE). The lease is returned at
// once. On a file system without leases, no writer is seen.
func hasWriter(path string) bool {
	f, _, err := input.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // and with it the lease
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return errors.Is(err, unix.EAGAIN)
}
