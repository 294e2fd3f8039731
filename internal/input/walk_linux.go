package input

import (
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many links the kernel follows for one path.
const maxLinks = 40

// walk does what openat2 does with RESOLVE_IN_ROOT, name by name, for a kernel without
// it. It holds each directory of the path open, so that ".." leads back to where it
// came from even if the directory is moved meanwhile.
func walk(root int, name string, flags int, mode uint32) (int, error) {
	w := walker{root: root}
	defer w.close()
	return w.open(name, flags, mode)
}

// A walker goes through the directories of a root.
type walker struct {
	root  int
	fds   []int    // of the directories below the root, down to where it is
	names []string // of the same
	links int      // that were followed
	rest  []string // what is still ahead
}

func (w *walker) close() {
	for _, fd := range w.fds {
		syscall.Close(fd)
	}
	w.fds, w.names = nil, nil
}

// at returns the directory that the walker is in.
func (w *walker) at() int {
	if len(w.fds) == 0 {
		return w.root
	}
	return w.fds[len(w.fds)-1]
}

// split returns the names of a path; a slash at its end asks for a directory,
// as "." does.
func split(path string) []string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" {
			names = append(names, name)
		}
	}
	if strings.HasSuffix(path, "/") {
		names = append(names, ".")
	}
	return names
}

// open walks to a path and opens what is there.
func (w *walker) open(path string, flags int, mode uint32) (int, error) {
	w.rest = split(path)
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if w.special(name) {
			continue
		}
		last := len(w.rest) == 0
		if !last || flags&syscall.O_NOFOLLOW == 0 {
			if followed, err := w.follow(name); err != nil {
				return -1, err
			} else if followed {
				continue
			}
		}
		if last {
			return openat(w.at(), name, flags|syscall.O_NOFOLLOW, mode)
		}
		if err := w.enter(name); err != nil {
			return -1, err
		}
	}
	return openat(w.at(), ".", flags&^syscall.O_NOFOLLOW, mode)
}

// special follows "." and "..", and reports whether name is one of them.
func (w *walker) special(name string) bool {
	switch name {
	case ".":
		return true
	case "..":
		if last := len(w.fds) - 1; last >= 0 {
			syscall.Close(w.fds[last])
			w.fds, w.names = w.fds[:last], w.names[:last]
		}
		return true
	}
	return false
}

// follow puts the target of a link before the rest of the path, and reports whether
// name is a link.
func (w *walker) follow(name string) (bool, error) {
	to, err := readlinkat(w.at(), name)
	switch {
	case err == syscall.EINVAL, err == syscall.ENOENT:
		return false, nil // opening it says what is there
	case err != nil:
		return false, err
	}
	if w.links++; w.links > maxLinks {
		return false, syscall.ELOOP
	}
	if strings.HasPrefix(to, "/") {
		w.close()
	}
	ahead := split(to)
	if len(w.rest) > 0 && len(ahead) > 0 && ahead[len(ahead)-1] == "." {
		ahead = ahead[:len(ahead)-1]
	}
	w.rest = append(ahead, w.rest...)
	return true, nil
}

func (w *walker) enter(name string) error {
	fd, err := openat(w.at(), name, oPath|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	w.fds, w.names = append(w.fds, fd), append(w.names, name)
	return nil
}

// openat opens a name. The kernel takes few flags with O_PATH.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	return retry(func() (int, error) { return syscall.Openat(dir, name, flags|syscall.O_CLOEXEC, mode) })
}

// resolve returns where a path leads below a root, as a path below that root. Names
// from the first one that does not exist or is not a directory stay as they are.
func resolve(root int, path string) (string, error) {
	w := walker{root: root, rest: split(path)}
	defer w.close()
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if w.special(name) {
			continue
		}
		if followed, err := w.follow(name); err != nil && err != syscall.ENOTDIR {
			return "", err
		} else if followed {
			continue
		}
		if err := w.enter(name); err != nil {
			// What is not there cannot be a link, and nothing below it can.
			rest := filepath.Join(append([]string{"/", name}, w.rest...)...)
			return filepath.Join(append(w.names, rest)...), nil
		}
	}
	return filepath.Join(w.names...), nil
}
