//go:build linux

package armed

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Kind is what of a path was recorded.
type Kind string

// The kinds.
const (
	Content Kind = "content" // the bytes of a file
	Program Kind = "program" // the size of a file and when it was written: it is too large to read each time
	Link    Kind = "link"    // where a symbolic link leads
	Matches Kind = "matches" // the names that match a pattern
	Absent  Kind = "absent"  // nothing exists there
)

// A File is the recorded state of one path.
type File struct {
	Path string `json:"path"` // on the node
	Kind Kind   `json:"kind"`
	// Size and Time, in nanoseconds since 1970, are of a [Program] only. The times
	// of small files do not count: some programs set them back, and reading the
	// bytes is as fast.
	Size int64 `json:"size,omitempty"`
	Time int64 `json:"time,omitempty"`
	// SHA256 is the hash of the bytes, of where a link leads, or of the names.
	SHA256 string `json:"sha256,omitempty"`
}

// NewContent records the bytes of a file.
func NewContent(name string, data []byte) File {
	return File{Path: name, Kind: Content, SHA256: sumOf(data)}
}

// NewProgram records a program.
func NewProgram(name string, info fs.FileInfo) File {
	return File{Path: name, Kind: Program, Size: info.Size(), Time: info.ModTime().UnixNano()}
}

// NewMatches records the names that match a pattern.
func NewMatches(pattern string, names []string) File {
	return File{Path: pattern, Kind: Matches, SHA256: sumOf([]byte(strings.Join(names, "\n")))}
}

// NewLinks records the symbolic links on the way to a path, and whether there is
// nothing at its end.
func NewLinks(tree *input.Root, name string) ([]File, error) {
	var list []File
	missing, err := Walk(tree, name, func(at string, st *syscall.Stat_t, _ bool) error {
		if st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			return nil
		}
		to, err := tree.Readlink(tree.Path(at))
		list = append(list, File{Path: at, Kind: Link, SHA256: sumOf([]byte(to))})
		return err
	})
	if missing != "" {
		// Its parent directories may come and go: /run is empty in an image.
		list = append(list, File{Path: name, Kind: Absent})
	}
	return list, err
}

// changed returns what has changed, nil if nothing has.
func (f File) changed(root string, tree *input.Root) error {
	name := filepath.Join(root, f.Path)
	now := File{Path: f.Path, Kind: f.Kind}
	var err error
	switch f.Kind {
	case Content:
		var data []byte
		data, err = tree.ReadFile(name, 0)
		now = NewContent(f.Path, data)
	case Program:
		var info fs.FileInfo
		if info, err = tree.Stat(name); err == nil {
			now = NewProgram(f.Path, info)
		}
	case Link:
		var to string
		if to, err = tree.Readlink(name); errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("%s is no longer a link", name)
		}
		now.SHA256 = sumOf([]byte(to))
	case Matches:
		var names []string
		names, err = tree.Glob(name)
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], filepath.Clean(root))
		}
		now = NewMatches(f.Path, names)
	case Absent:
		if _, err = tree.Lstat(name); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		if err == nil {
			return fmt.Errorf("%s now exists", name)
		}
	default:
		return fmt.Errorf("%s is recorded as %q, by another version of mirrorcred", name, f.Kind)
	}
	if err != nil {
		return err
	}
	if now != f {
		return fmt.Errorf("%s has changed", name)
	}
	return nil
}

// maxLinks is how many symbolic links the kernel follows in one path
// (path_resolution(7)).
const maxLinks = 40

// Walk visits a path of a root as the kernel walks it: each directory and link
// on the way, and the target, for which last is set. missing is the first path
// that does not exist, "" if all do. Even a path that becomes a link meanwhile
// does not lead out of the root.
func Walk(tree *input.Root, name string, visit func(at string, st *syscall.Stat_t, last bool) error) (missing string, err error) {
	at, rest := "/", elements(name)
	for links := 0; ; {
		info, err := tree.Lstat(tree.Path(at))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return at, nil
		case err != nil:
			return "", err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return "", &fs.PathError{Op: "lstat", Path: tree.Path(at), Err: errors.ErrUnsupported}
		}
		isLink := st.Mode&syscall.S_IFMT == syscall.S_IFLNK
		if err := visit(at, st, len(rest) == 0 && !isLink); err != nil {
			return "", err
		}
		if isLink {
			to, err := tree.Readlink(tree.Path(at))
			if err != nil {
				return "", err
			}
			if links++; links > maxLinks {
				return "", &fs.PathError{Op: "open", Path: tree.Path(name), Err: syscall.ELOOP}
			}
			if !path.IsAbs(to) {
				to = path.Join(path.Dir(at), to)
			}
			at, rest = "/", append(elements(to), rest...)
			continue
		}
		if len(rest) == 0 {
			return "", nil
		}
		at, rest = path.Join(at, rest[0]), rest[1:]
	}
}

// elements returns the names in a path.
func elements(name string) []string {
	name = strings.Trim(path.Clean(name), "/")
	if name == "" || name == "." {
		return nil
	}
	return strings.Split(name, "/")
}
