package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Store is the directory of the files on one machine.
type Store struct {
	tree durable.Tree
	dir  string
	// step is called before each system call that changes something; an error stops
	// there. nil in production.
	step func(op string) error
}

// New returns the store in a directory of this machine, [Dir] in production.
func New(dir string) Store { return Store{dir: dir} }

// The names of the files after the key.
const (
	valueSuffix = ".json"
	faultSuffix = ".fault"
	temporary   = ".mirrorcred-" // before the name of a file that is being written
)

// maxSize is the size of the largest file that is read.
const maxSize = 1 << 20

// Value returns the value of a key. A key without one is the error fs.ErrNotExist.
func (s Store) Value(key string) (Value, error) {
	data, err := s.read(key + valueSuffix)
	if err != nil {
		return Value{}, err
	}
	v, err := decodeValue(data)
	return v, s.explain(key+valueSuffix, err)
}

// Fault returns the fault of a key. A key without one is the error fs.ErrNotExist.
func (s Store) Fault(key string) (Fault, error) {
	data, err := s.read(key + faultSuffix)
	if err != nil {
		return Fault{}, err
	}
	f, err := decodeFault(data)
	return f, s.explain(key+faultSuffix, err)
}

// explain adds to an error which file it is about.
func (s Store) explain(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w; remove it, and mirrorcred deliver writes it anew", filepath.Join(s.dir, name), err)
}

// read returns a file that only root could have written and can read.
func (s Store) read(name string) ([]byte, error) {
	path := filepath.Join(s.dir, name)
	data, info, err := s.tree.ReadNoFollow(path, maxSize)
	if err != nil {
		return nil, err
	}
	if uid, is := input.Stranger(info); is {
		return nil, s.explain(name, fmt.Errorf("it belongs to user %d", uid))
	}
	if info.Mode()&0o077 != 0 {
		return nil, s.explain(name, fmt.Errorf("its mode is %04o, so that others can read it", info.Mode().Perm()))
	}
	return data, nil
}

// SetValue replaces the value of a key, and removes its fault.
func (s Store) SetValue(key string, v Value) error {
	data, err := v.encode()
	if err != nil {
		return s.explain(key+valueSuffix, err)
	}
	if err := s.replace(key+valueSuffix, data); err != nil {
		return err
	}
	return s.remove(key + faultSuffix)
}

// SetFault replaces the fault of a key. Its value, if it has one, stays.
func (s Store) SetFault(key string, f Fault) error {
	data, err := f.encode()
	if err != nil {
		return s.explain(key+faultSuffix, err)
	}
	return s.replace(key+faultSuffix, data)
}

// Remove removes everything of a key: first the value.
func (s Store) Remove(key string) error {
	return errors.Join(s.remove(key+valueSuffix), s.remove(key+faultSuffix))
}

// Keys returns the keys that have a value or a fault, sorted.
func (s Store) Keys() ([]string, error) {
	entries, err := s.tree.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var keys []string
	for _, e := range entries {
		for _, suffix := range []string{valueSuffix, faultSuffix} {
			if key, ok := strings.CutSuffix(e.Name(), suffix); ok && !strings.HasPrefix(key, ".") {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// Clean removes what a killed process was writing. Only the one writer may call it.
func (s Store) Clean() error {
	entries, err := s.tree.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			errs = append(errs, s.remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// replace puts a file into place, whole or not at all. When it returns, the file
// would survive a power cut.
func (s Store) replace(name string, data []byte) error {
	if err := s.makeDir(); err != nil {
		return err
	}
	path, built := filepath.Join(s.dir, name), filepath.Join(s.dir, temporary+name)
	if err := s.tree.RemoveAll(built); err != nil {
		return err // a killed process left it
	}
	if err := s.build(built, data); err != nil {
		return err
	}
	return s.do("rename", func() error {
		if err := s.tree.Rename(built, path); err != nil {
			return err
		}
		return s.tree.SyncDir(s.dir)
	})
}

func (s Store) makeDir() error {
	return s.do("mkdir", func() error {
		if err := s.tree.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
		info, err := s.tree.Stat(s.dir)
		if err != nil || info.Mode().Perm() == 0o700 {
			return err
		}
		return s.tree.ChmodDir(s.dir, 0o700)
	})
}

func (s Store) build(path string, data []byte) error {
	return s.do("create", func() error {
		f, err := s.tree.Create(path, 0o600)
		if err != nil {
			return err
		}
		err = s.do("write", func() error {
			_, err := f.Write(data)
			return errors.Join(err, f.Sync())
		})
		return errors.Join(err, f.Close())
	})
}

func (s Store) remove(name string) error {
	return s.do("remove", func() error {
		err := s.tree.Remove(filepath.Join(s.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.tree.SyncDir(s.dir)
	})
}

// do makes one change, unless the test's step stops there.
func (s Store) do(op string, change func() error) error {
	if s.step != nil {
		if err := s.step(op); err != nil {
			return err
		}
	}
	return change()
}
