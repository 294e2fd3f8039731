package courier

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
)

// A Holder is a courier that holds the lock of a node.
type Holder struct {
	Ring string `json:"ring"`
	Pod  string `json:"pod"`
}

// fault says that another courier holds the lock.
func (h Holder) fault(path string) string {
	if h == (Holder{}) {
		return fmt.Sprintf("%s: another courier holds the lock; find its pod on this node, and delete one of the two", path)
	}
	return fmt.Sprintf("%s: the pod %s of ring %q holds the lock; have one ring select this node", path, h.Pod, h.Ring)
}

// A lock is that of a node's one courier. The kernel releases it when the process
// ends. The file says who has it, and stays.
type lock struct {
	path string
	self Holder

	file   *os.File // nil if it is not held
	before *Holder  // who held it before
	isNew  bool     // it was taken since predecessor was asked
}

// take takes the lock if it is free. It returns who else holds it, nil if this
// courier does now.
func (l *lock) take() (other *Holder, err error) {
	if l.file != nil && isAt(l.file, l.path) {
		return nil, nil
	}
	l.release() // another file has taken its place
	f, err := durable.Tree{}.OpenLock(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; mount that directory of the node into the pod, to read and write (a hostPath)", filepath.Dir(l.path))
	case errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("%s is mounted read-only; mount that directory of the node into the pod to read and write", filepath.Dir(l.path))
	case err != nil:
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		holder, _ := readHolder(f)
		return &holder, nil
	}
	if err == nil && !isAt(f, l.path) {
		err = fmt.Errorf("%s was replaced meanwhile; this is tried again", l.path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	l.file, l.isNew, l.before = f, true, nil
	if holder, ok := readHolder(f); ok {
		l.before = &holder
	}
	return nil, l.sign()
}

// predecessor returns who held the lock before, nil if that is not known, and
// whether it was taken since this was last asked.
func (l *lock) predecessor() (before *Holder, isNew bool) {
	isNew, l.isNew = l.isNew, false
	return l.before, isNew
}

// sign writes into the file whose the lock is.
func (l *lock) sign() error {
	text, err := json.Marshal(l.self)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(text, '\n'), 0)
	return err
}

func (l *lock) release() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// mostHolder is the longest text of a holder, in bytes.
const mostHolder = 4 << 10

// readHolder returns whom the file of a lock names; false if it names none, as one
// whose writer was killed.
func readHolder(f *os.File) (Holder, bool) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, mostHolder))
	var h Holder
	if err != nil || json.Unmarshal(data, &h) != nil {
		return Holder{}, false
	}
	return h, true
}

// isAt reports whether an open file is the one at a path.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	there, errThere := os.Lstat(path)
	return err == nil && errThere == nil && os.SameFile(mine, there)
}
