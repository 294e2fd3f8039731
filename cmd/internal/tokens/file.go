package tokens

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of files in the cache: an entry has its key's hash for a name.
const (
	lockSuffix = ".lock"
	temporary  = ".tmp-"
)

// mostBytes bounds an entry. The longest tokens are some KiB.
const mostBytes = 256 << 10

// open makes the directory where it is missing and checks that it is ours
// alone. After a boot /run is empty, so that a missing one is nothing to note.
func (c *Cache) open() error {
	info, err := os.Lstat(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err = c.make(); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory, and is not used; remove it", c.dir)
	case info.Mode().Perm() != 0o700:
		return fmt.Errorf("%s has the mode %04o, and is not used; set 0700, or remove it", c.dir, info.Mode().Perm())
	}
	return checkOwner(c.dir, info)
}

func (c *Cache) make() (fs.FileInfo, error) {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil {
		return nil, err
	}
	err := os.Mkdir(c.dir, 0o700)
	if err == nil {
		err = os.Chmod(c.dir, 0o700) // whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Lstat(c.dir)
}

func checkOwner(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int64(st.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user, and is not used; remove it", path)
	}
	return nil
}

func (c *Cache) path(key Key) string { return filepath.Join(c.dir, key.digest) }

// openFile opens a file of the cache, which has to be regular and ours. It
// follows no link, and waits for nobody where a named pipe stands in its place.
func openFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, and is not used", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file, and is not used", path)
	default:
		err = checkOwner(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read returns the entry of a key; the zero entry, which is never good, where
// there is none.
func (c *Cache) read(key Key) (entry, error) {
	path := c.path(key)
	f, err := openFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return entry{}, err
	}
	if info.Mode().Perm() != 0o600 {
		return entry{}, fmt.Errorf("%s has the mode %04o, not 0600, and is not used", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, mostBytes))
	if err != nil {
		return entry{}, err
	}
	e, err := decode(data)
	switch {
	case err != nil:
		return entry{}, fmt.Errorf("%s %w, and is not used", path, err)
	case e.Registry != key.registry || e.Key != key.digest:
		return entry{}, fmt.Errorf("%s is that of another registry or identity, and is not used", path)
	}
	return e, nil
}

// write puts an entry into place, whole or not at all. It is not synced: after
// a power cut there is no cache, and a torn entry is found by its hash.
func (c *Cache) write(e entry) error {
	data, err := e.encode()
	if err != nil || len(data) >= mostBytes {
		return err
	}
	name := filepath.Join(c.dir, temporary+rand.Text())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o600), f.Close())
	if err == nil {
		// Its age is that of its end, for prune.
		err = os.Chtimes(name, e.Until, e.Until)
	}
	if err == nil {
		err = os.Rename(name, filepath.Join(c.dir, e.Key))
	}
	if err != nil {
		os.Remove(name)
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// prune removes what ended an hour ago, and locks that nobody holds. What it
// cannot remove does no harm.
func (c *Cache) prune() {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	old := c.now().Add(-time.Hour)
	for _, file := range files {
		info, err := file.Info()
		if err != nil || info.ModTime().After(old) || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(c.dir, file.Name())
		if !strings.HasSuffix(path, lockSuffix) {
			os.Remove(path)
			continue
		}
		if f, err := openFile(path, os.O_RDWR); err == nil {
			if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
				os.Remove(path)
			}
			f.Close()
		}
	}
}
