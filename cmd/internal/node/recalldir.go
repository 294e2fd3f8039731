package node

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A listing is what was read of the entries of a directory, while each change of them is
// reported.
type listing struct {
	entries []fs.DirEntry // by name; nil if they must be read
	// reported are the names with a change since.
	reported map[string]bool
	// until is the time since boot at which they are read anew.
	until time.Duration
}

// readBig returns the entries of a directory that may have thousands, in any order, and
// none if the directory does not exist. It reads only those again that a change was
// reported of. The caller may change the list.
func (n *Node) readBig(dir string) ([]fs.DirEntry, error) {
	known := n.known(dir)
	if known == nil || known.changes == nil {
		return existing(n.tree.ReadDirUnsorted(dir))
	}
	if entries, ok := known.listing.again(known.now, func(name string) (fs.FileInfo, error) { return n.tree.Lstat(dir + "/" + name) }); ok {
		return slices.Clone(entries), nil
	}
	known.listing = listing{}
	isCovered := known.changes.Covers(dir) // before it is read
	entries, err := existing(n.tree.ReadDirUnsorted(dir))
	if err == nil && isCovered {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		known.listing = listing{entries: slices.Clone(entries), until: known.now + lifetime(n.Remember)}
	}
	return entries, err
}

// lifetime returns a random time of at most so long, so that what one pass has read is not
// all read anew in the same pass.
func lifetime(most time.Duration) time.Duration { return most/2 + rand.N(max(1, most/2)) }

// again returns the entries, after a look at those that a change was reported of. It is
// false if all must be read.
func (l *listing) again(now time.Duration, look func(name string) (fs.FileInfo, error)) ([]fs.DirEntry, bool) {
	if l.entries == nil || l.until <= now {
		return nil, false
	}
	for name := range l.reported {
		info, err := look(name)
		i, exists := slices.BinarySearchFunc(l.entries, name, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
		switch {
		case errors.Is(err, fs.ErrNotExist) && exists:
			l.entries = slices.Delete(l.entries, i, i+1)
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, false
		case exists:
			l.entries[i] = fs.FileInfoToDirEntry(info)
		default:
			l.entries = slices.Insert(l.entries, i, fs.FileInfoToDirEntry(info))
		}
	}
	l.reported = nil
	return l.entries, true
}

// changed notes that an entry may have changed.
func (l *listing) changed(name string) {
	if l.reported == nil {
		l.reported = map[string]bool{}
	}
	l.reported[name] = true
}

// A knownNamespace is what was made of a namespace. It stays the same while its file does,
// and no change in it is reported.
type knownNamespace struct {
	name string
	ns   plan.Namespace
	file *recalled
	// isWanted is as it was then, and isListed says that the other files were looked for.
	isWanted, isListed bool
	isFaulty           bool // it could not be read
}

// namespace returns what was made of a namespace, and false if it must be read.
func (r *recall) namespace(name string, isWanted, beside bool) (plan.Namespace, bool) {
	if r == nil {
		return plan.Namespace{}, false
	}
	was, ok := r.namespaces[name]
	if !ok || !was.file.covered || was.file.until <= r.now || was.isWanted != isWanted || beside && !was.isListed {
		return plan.Namespace{}, false
	}
	return was.ns, true
}

// learnNamespaces remembers namespaces with a hosts.toml that is remembered.
func (r *recall) learnNamespaces(list []knownNamespace) {
	if r.namespaces == nil {
		r.namespaces = make(map[string]knownNamespace, len(list))
	}
	for _, one := range list {
		if one.file = r.files[one.name+"/"+hosts.FileName]; one.file != nil && !one.isFaulty {
			r.namespaces[one.name] = one
		} else {
			delete(r.namespaces, one.name)
		}
	}
}
