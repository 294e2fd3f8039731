package tokens

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Names of files in the cache: an entry has its key's hash for a name.
const (
	lockSuffix = ".lock"
	temporary  = ".tmp-"
)

// mostBytes bounds an entry. The longest tokens are some KiB.
const mostBytes = 256 << 10

// files are a store in a directory.
type files struct{ dir string }

// open creates the directory if it is missing and checks that only its owner
// can use it. After a boot /run is empty, so a missing directory is not a note.
func (f files) open() error {
	if err := supported(f.dir); err != nil {
		return err
	}
	info, err := os.Lstat(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err = f.make(); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory, and is not used; remove it", f.dir)
	case info.Mode().Perm() != 0o700:
		return fmt.Errorf("%s has the mode %04o, and is not used; set 0700, or remove it", f.dir, info.Mode().Perm())
	}
	return checkOwner(f.dir, info)
}

func (f files) make() (fs.FileInfo, error) {
	if err := os.MkdirAll(filepath.Dir(f.dir), 0o755); err != nil {
		return nil, err
	}
	err := os.Mkdir(f.dir, 0o700)
	if err == nil {
		err = os.Chmod(f.dir, 0o700) // whatever the umask
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Lstat(f.dir)
}

func (f files) path(key Key) string { return filepath.Join(f.dir, key.digest) }

// read returns the entry of a key; the zero entry, which is never good, if
// there is none.
func (f files) read(key Key) (entry, error) {
	path := f.path(key)
	data, info, err := input.ReadNoFollow(path, mostBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	var irregular *input.IrregularError
	if errors.As(err, &irregular) {
		return entry{}, fmt.Errorf("%s is %s, not a file, and is not used; remove it", path, irregular.Kind)
	}
	var oversize *input.OversizeError
	if errors.As(err, &oversize) {
		return entry{}, fmt.Errorf("%s is larger than any token, and is not used", path)
	}
	if err != nil {
		return entry{}, err
	}
	if err := checkOwner(path, info); err != nil {
		return entry{}, err
	}
	if info.Mode().Perm() != 0o600 {
		return entry{}, fmt.Errorf("%s has the mode %04o, not 0600, and is not used", path, info.Mode().Perm())
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
func (f files) write(e entry) error {
	data, err := e.encode()
	if err != nil || len(data) >= mostBytes {
		return err
	}
	name := filepath.Join(f.dir, temporary+rand.Text())
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(0o600), file.Close())
	if err == nil {
		// Its time is when it expires, for prune.
		err = os.Chtimes(name, e.Until, e.Until)
	}
	if err == nil {
		err = os.Rename(name, filepath.Join(f.dir, e.Key))
	}
	if err != nil {
		os.Remove(name)
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// prune removes what expired an hour ago, and free locks. What it cannot remove
// does no harm.
func (f files) prune(now time.Time) {
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	old := now.Add(-expiredFor)
	for _, file := range list {
		info, err := file.Info()
		if err != nil || info.ModTime().After(old) || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(f.dir, file.Name())
		if !strings.HasSuffix(path, lockSuffix) {
			os.Remove(path)
			continue
		}
		if lock, err := openLock(path, 0); err == nil {
			if tryLock(lock) {
				os.Remove(path)
			}
			lock.Close()
		}
	}
}
