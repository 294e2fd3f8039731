package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A trust checks who else may write a file or replace it: for a file that
// decides where credentials go, only root and the user that runs mirrorcred
// may. It checks each directory once, since many files share them.
type trust struct {
	root string // directories above it are not checked
	// below says that links below the root stay below it.
	below bool
	seen  map[string]error
}

func (n *Node) newTrust() *trust {
	return &trust{root: filepath.Clean("/" + n.Root), below: n.elsewhere, seen: map[string]error{}}
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// check returns why a file is not safe from others, or nil. It follows links,
// and checks each directory on the way. A missing file is left to its reader.
func (t *trust) check(path string) error {
	rest, links := filepath.Clean(path), 0
	if !filepath.IsAbs(rest) {
		abs, err := filepath.Abs(rest)
		if err != nil {
			return err
		}
		rest = abs
	}
	dir := "/"
	for {
		if err := t.dir(dir); err != nil {
			return err
		}
		name, after, more := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		at := filepath.Join(dir, name)
		info, err := os.Lstat(at)
		if err != nil {
			return nil // its reader reports that
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if err := owned(at, info); err != nil && t.judges(at) {
				return err
			}
			to, err := os.Readlink(at)
			if links++; err != nil || links > maxLinks {
				return nil
			}
			rest, dir = filepath.Join(t.target(dir, to), after), "/"
		case more:
			rest, dir = after, at
		default:
			return t.file(at, info)
		}
	}
}

// target returns where a link in a directory leads. Below another root it stays
// below that, as on its own machine.
func (t *trust) target(dir, to string) string {
	if !t.below || !t.judges(dir) {
		if filepath.IsAbs(to) {
			return to
		}
		return filepath.Join(dir, to)
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join("/", strings.TrimPrefix(dir, strings.TrimSuffix(t.root, "/")), to)
	}
	return filepath.Join(t.root, to)
}

// judges reports whether a path is at the root or below it. What is above is
// not part of the node.
func (t *trust) judges(path string) bool {
	return t.root == "/" || path == t.root || strings.HasPrefix(path, t.root+"/")
}

// dir checks a directory once.
func (t *trust) dir(path string) error {
	if !t.judges(path) {
		return nil
	}
	err, done := t.seen[path]
	if done {
		return err
	}
	info, err := os.Stat(path)
	if err == nil {
		err = owned(path, info)
	}
	// In a sticky directory such as /tmp a file can be replaced by its owner
	// alone.
	if err == nil && info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 && !readOnly(path) {
		err = &fault.Fault{Where: path, Found: fmt.Sprintf("mode %04o, so users other than root can replace files below it", info.Mode().Perm()), Fix: "run: chmod go-w " + path}
	}
	t.seen[path] = err
	return err
}

// file checks the file itself.
func (t *trust) file(path string, info fs.FileInfo) error {
	if !t.judges(path) {
		return nil
	}
	if err := owned(path, info); err != nil {
		return err
	}
	if info.Mode()&0o022 != 0 {
		return &fault.Fault{Where: path, Found: fmt.Sprintf("mode %04o, so users other than root can write it", info.Mode().Perm()), Fix: "run: chmod go-w " + path}
	}
	return nil
}

// owned returns an error unless a file belongs to root or the user that runs
// mirrorcred: its owner may write it whatever its mode.
func owned(path string, info fs.FileInfo) error {
	if uid, is := input.Stranger(info); is {
		return &fault.Fault{Where: path, Found: fmt.Sprintf("it belongs to user %d, who can change it", uid), Fix: "run: chown root " + path}
	}
	return nil
}

// untrusted returns a fault of [trust] with what it means.
func untrusted(what string, err error) error {
	f := fault.Of(err)
	f.What, f.Until = what, plan.NotApplied
	return f
}

// readOnly reports whether a file system is mounted read-only, like the volume
// of a ConfigMap: then the mode does not matter.
func readOnly(path string) bool {
	var st syscall.Statfs_t
	const readOnlyMount = 1 // ST_RDONLY
	return syscall.Statfs(path, &st) == nil && st.Flags&readOnlyMount != 0
}

// checkSecret returns an error unless only root and the user that runs
// mirrorcred can read a file that holds a secret.
func checkSecret(path string, info fs.FileInfo) error {
	if uid, is := input.Stranger(info); is {
		return &fault.Fault{Where: path, Found: fmt.Sprintf("it holds a secret and belongs to user %d", uid), Fix: "run: chown root " + path}
	}
	if info.Mode()&0o077 != 0 {
		return &fault.Fault{Where: path, Found: fmt.Sprintf("it holds a secret and has mode %04o, so others can read it", info.Mode().Perm()), Fix: "run: chmod 0600 " + path}
	}
	return nil
}
