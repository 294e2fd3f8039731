package input

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A Root is a directory that stands for the root of another machine, such as
// that of an image that is being built. Links below it lead where they would
// lead on that machine: "/etc" is the etc in the directory, and ".." does not
// leave it. The kernel resolves them while it opens a file, so a link that is changed
// at that moment does not lead out either.
//
// Its methods take paths on the machine that runs this program, so that messages have
// the same paths. A path that is not below the directory is a path of this machine, and
// so is every path for a nil Root.
type Root struct {
	dir  string
	open func() (*opened, error)
}

// An opened is the descriptor of a root.
type opened struct {
	file *os.File // closed when the root is garbage
	fd   int
	// byHand says that the kernel does not resolve links in a root: it is older than
	// 5.6, or a sandbox forbids openat2.
	byHand bool
}

// NewRoot returns the root at a directory, "" for that of this machine. If the
// directory cannot be opened, each method returns that error.
func NewRoot(dir string) *Root {
	if dir == "" {
		return nil
	}
	dir = filepath.Clean(dir)
	return &Root{dir, sync.OnceValues(func() (*opened, error) { return openRoot(dir) })}
}

func openRoot(dir string) (*opened, error) {
	fd, err := retry(func() (int, error) {
		return syscall.Open(dir, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, fault("open", dir, err)
	}
	o := &opened{file: os.NewFile(uintptr(fd), dir), fd: fd}
	probe, err := openat2(fd, ".", oPath|syscall.O_CLOEXEC, 0, resolveInRoot)
	if err != nil {
		o.byHand = true
	} else {
		syscall.Close(probe)
	}
	return o, nil
}

// Check returns an error if the root cannot be opened.
func (r *Root) Check() error {
	if r == nil {
		return nil
	}
	_, err := r.open()
	return err
}

// Path returns the path on this machine for a path below the root.
func (r *Root) Path(name string) string {
	if r == nil {
		return filepath.Join("/", name)
	}
	return filepath.Join(r.dir, name)
}

// inside returns a path as it is below the root, and false for a path of this machine.
func (r *Root) inside(name string) (string, bool) {
	if r == nil {
		return "", false
	}
	name = filepath.Clean(name)
	if name == r.dir {
		return ".", true
	}
	inside, ok := strings.CutPrefix(name, strings.TrimSuffix(r.dir, "/")+"/")
	return inside, ok
}

// openFD is the system call open for a path. No link leads out of the root. The
// error is bare.
func (r *Root) openFD(name string, flags int, mode uint32) (int, error) {
	inside, ok := r.inside(name)
	if !ok {
		return retry(func() (int, error) { return syscall.Open(name, flags|syscall.O_CLOEXEC, mode) })
	}
	o, err := r.open()
	if err != nil {
		return -1, bare(err)
	}
	return o.openFD(inside, flags|syscall.O_CLOEXEC, mode)
}

// openFD opens a path below the root.
func (o *opened) openFD(inside string, flags int, mode uint32) (int, error) {
	if o.byHand {
		return walk(o.fd, inside, flags, mode)
	}
	return openat2(o.fd, inside, flags, mode, resolveInRoot)
}

// Parent opens the directory that a path is in. It returns the descriptor, which the
// caller closes, and the last name of the path, for system calls such as openat. The
// name may be a link.
func (r *Root) Parent(name string) (fd int, base string, err error) {
	fd, err = r.openFD(filepath.Dir(name), oPath|syscall.O_DIRECTORY, 0)
	if err != nil {
		return -1, "", fault("open", filepath.Dir(name), err)
	}
	return fd, filepath.Base(name), nil
}

// OpenFD opens a path without regard to what is there, with the flags of the
// system call open. The caller closes it.
func (r *Root) OpenFD(name string, flags int, mode uint32) (int, error) {
	fd, err := r.openFD(name, flags, mode)
	if err != nil {
		return -1, fault("open", name, err)
	}
	return fd, nil
}

// ReadFile is [ReadFile] below the root.
func (r *Root) ReadFile(name string, max int64) ([]byte, error) {
	data, _, err := r.Read(name, max)
	return data, err
}

// Read is [Read] below the root.
func (r *Root) Read(name string, max int64) ([]byte, fs.FileInfo, error) {
	if _, ok := r.inside(name); !ok {
		return Read(name, max)
	}
	return r.read(name, max, 0)
}

// ReadNoFollow is [ReadNoFollow] below the root.
func (r *Root) ReadNoFollow(name string, max int64) ([]byte, fs.FileInfo, error) {
	if _, ok := r.inside(name); !ok {
		return ReadNoFollow(name, max)
	}
	return r.read(name, max, syscall.O_NOFOLLOW)
}

func (r *Root) read(name string, max int64, flags int) ([]byte, fs.FileInfo, error) {
	fd, info, err := r.openRegular(name, flags)
	if err != nil {
		return nil, nil, err
	}
	defer fd.Close()
	data, err := readUpTo(fd, info.Size(), max, newRoom)
	if err != nil {
		return nil, nil, fault("read", name, err)
	}
	return data, info, nil
}

// Open is [Open] below the root.
func (r *Root) Open(name string) (*os.File, fs.FileInfo, error) {
	if _, ok := r.inside(name); !ok {
		return Open(name)
	}
	fd, info, err := r.openRegular(name, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.SetNonblock(int(fd), false); err != nil {
		fd.Close()
		return nil, nil, fault("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), info, nil
}

// openRegular opens a regular file below the root, after checking what is there (see
// open).
func (r *Root) openRegular(name string, flags int) (descriptor, fs.FileInfo, error) {
	look, err := r.openFD(name, oPath|flags, 0)
	if err != nil {
		return -1, nil, fault("open", name, err)
	}
	_, err = check(look, filepath.Base(name))
	syscall.Close(look)
	if err != nil {
		return -1, nil, fault("open", name, err)
	}
	fd, err := r.openFD(name, openFlags|flags, 0)
	if err != nil {
		return -1, nil, fault("open", name, err)
	}
	info, err := check(fd, filepath.Base(name))
	if err != nil {
		syscall.Close(fd)
		return -1, nil, fault("open", name, err)
	}
	return descriptor(fd), info, nil
}

// Stat is [os.Stat] below the root.
func (r *Root) Stat(name string) (fs.FileInfo, error) { return r.stat("stat", name, 0) }

// Lstat is [os.Lstat] below the root.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	return r.stat("lstat", name, syscall.O_NOFOLLOW)
}

func (r *Root) stat(op, name string, flags int) (fs.FileInfo, error) {
	if _, ok := r.inside(name); !ok {
		if flags == 0 {
			return os.Stat(name)
		}
		return os.Lstat(name)
	}
	fd, err := r.openFD(name, oPath|flags, 0)
	if err != nil {
		return nil, fault(op, name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Stat()
}

// ReadDir is [os.ReadDir] below the root.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := r.ReadDirUnsorted(name)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// ReadDirUnsorted is [Root.ReadDir] for thousands of entries, which it returns as the
// directory has them.
func (r *Root) ReadDirUnsorted(name string) ([]fs.DirEntry, error) {
	fd, err := r.openFD(name, openFlags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fault("open", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if _, ok := r.inside(name); !ok {
		return entries, err
	}
	list := make([]entry, len(entries))
	for i, e := range entries {
		list[i] = entry{e, r, name}
		entries[i] = &list[i]
	}
	return entries, err
}

// Readlink is [os.Readlink] below the root.
func (r *Root) Readlink(name string) (string, error) {
	if _, ok := r.inside(name); !ok {
		return os.Readlink(name)
	}
	fd, base, err := r.Parent(name)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	to, err := readlinkat(fd, base)
	if err != nil {
		return "", fault("readlink", name, err)
	}
	return to, nil
}

// Resolve returns a path with all links in it resolved below the root. Parts that do
// not exist stay as they are. The result is valid only until a link changes, so use it
// only for functions that do not take a descriptor.
func (r *Root) Resolve(name string) (string, error) {
	inside, ok := r.inside(name)
	if !ok {
		return name, nil
	}
	o, err := r.open()
	if err != nil {
		return "", err
	}
	resolved, err := resolve(o.fd, inside)
	if err != nil {
		return "", fault("open", name, err)
	}
	return filepath.Join(r.dir, resolved), nil
}

func bare(err error) error {
	if at, ok := err.(*fs.PathError); ok {
		return at.Err
	}
	return err
}
