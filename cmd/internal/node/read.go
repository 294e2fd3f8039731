package node

import (
	"errors"
	"io/fs"
	"runtime"
	"sync"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A reader reads small files below one directory, maybe thousands, into memory
// that they share. It is for one goroutine.
type reader struct {
	*input.Dir
	spare []byte // not handed out yet
	// known is what earlier passes read, nil for nothing, and fresh what this one did.
	known *recall
	fresh []recalled
	made  []knownNamespace // in this pass
}

// spareSize is how much memory is allocated at once.
const spareSize = 64 << 10

// read reads the named file.
func (r *reader) read(name string) ([]byte, fs.FileInfo, error) {
	if r.known == nil {
		return r.ReadFile(name, 0, r.room)
	}
	if was := r.known.unchanged(name, r); was != nil {
		return was.data, was.info, nil
	}
	room := r.room
	if len(r.known.files) > 0 {
		room = nil // what is kept of a few files must not keep the memory of many
	}
	covers := r.known.covers(name, r) // before the file is read
	data, info, err := r.ReadFile(name, 0, room)
	if err != nil {
		return data, info, err
	}
	// IsUnchanged is false if the name is a link.
	r.fresh = append(r.fresh, recalled{
		name: name, data: data, info: info,
		covered: covers && hasOneName(info) && r.IsUnchanged(name, info),
	})
	return data, info, nil
}

// isClosed reports whether only root and the user that runs mirrorcred can read
// a file. Its owner always can, whatever its mode.
func isClosed(info fs.FileInfo) bool {
	_, stranger := input.Stranger(info)
	return info.Mode()&0o077 == 0 && !stranger
}

// room returns a slice of that length.
func (r *reader) room(size int) []byte {
	if size > spareSize/8 {
		return make([]byte, size)
	}
	if size > len(r.spare) {
		r.spare = make([]byte, spareSize)
	}
	data := r.spare[:size:size]
	r.spare = r.spare[size:]
	return data
}

func (n *Node) readDir(path string) ([]fs.DirEntry, error) {
	return existing(n.tree.ReadDir(path))
}

// existing takes a missing directory for an empty one.
func existing(entries []fs.DirEntry, err error) ([]fs.DirEntry, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	return entries, nil
}

func without(entries []fs.DirEntry, drop func(fs.DirEntry) bool) []fs.DirEntry {
	kept := entries[:0]
	for _, e := range entries {
		if !drop(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// readAll calls do for each entry of a directory, on a few goroutines with a
// reader each, and returns one of the errors.
func (n *Node) readAll(dir string, entries []fs.DirEntry, do func(r *reader, i int) error) error {
	if len(entries) == 0 {
		return nil
	}
	in, err := n.tree.OpenDir(dir)
	if err != nil {
		return describe(err)
	}
	defer in.Close()
	workers := min(runtime.GOMAXPROCS(0), 1+len(entries)/64)
	known := n.recall(dir, len(entries))
	errs, readers := make([]error, workers), make([]reader, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			r := reader{Dir: in, known: known}
			for i := w; i < len(entries) && errs[w] == nil; i += workers {
				errs[w] = do(&r, i)
			}
			readers[w] = r
		})
	}
	wait.Wait()
	if known != nil {
		for _, r := range readers {
			known.learn(r.fresh, n.Remember)
		}
		for _, r := range readers {
			known.learnNamespaces(r.made)
		}
		known.forgetGone(entries)
	}
	return errors.Join(errs...)
}
