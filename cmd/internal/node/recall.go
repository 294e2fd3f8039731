package node

import (
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A pass over 10,000 mirrors spends most of its time on opening and reading files that
// have not changed. So a node that is applied again and again remembers what it read. If
// the file's directory is watched, and no event came, the file is the same. Otherwise the
// kernel is asked whether it is.
//
// The kernel's answer comes from the time of the inode's last change, which no program can
// set. But the clock is coarse, and it can be set back; and a program that writes through
// mapped memory need not change the time at once, or cause an event. So the time counts only
// once it is old, all is forgotten if the clock was set, and each file is read anew
// from time to time. Before that, what is missed is missed as if its event had been lost. No
// file is replaced or removed for what is remembered: it is read again right before.

// leastRecalled is how many files a directory must have for that. Reading fewer is quick, and
// costs no memory.
const leastRecalled = 200

// aged is how old a file's time must be to prove that the file has not changed: more than the
// step of any file system's clock.
const aged = 3 * time.Second

// Changes reports the changes of files in directories that are watched.
type Changes interface {
	// Take returns the paths with a change since it was last called: of files, and of
	// directories that were removed, renamed, or are no longer watched. It returns false
	// if there may have been others.
	Take() (paths []string, all bool)
	// Covers reports whether each change of a file in a directory will be reported from
	// now on, until it reports that the directory itself was moved or removed.
	Covers(dir string) bool
}

// A recall is what was read in one directory.
type recall struct {
	files map[string]*recalled // by name below the directory
	// listing are the directory's own entries, and namespaces what was made of them.
	listing    listing
	namespaces map[string]knownNamespace
	boot       string
	// zero is the time since boot at which the wall clock began to count, so to speak:
	// it changes if that clock is set.
	zero time.Time
	// now is the time since boot, and limit the newest time of a file that counts.
	now     time.Duration
	limit   time.Time
	changes Changes // nil for none
}

// A recalled is a file that was read.
type recalled struct {
	name string
	data []byte
	info fs.FileInfo
	// until is the time since boot at which it is read anew.
	until time.Duration
	// covered says that each change since it was last looked at is reported. It is false if
	// the name is a link, or the file had another name then: a change is reported for the
	// directory in which it is made.
	covered bool
	// young says that its time was not old when it was read. It is read again if it is not
	// covered.
	young bool
}

// recalls are what was read in each directory. Directories are read at the same time.
type recalls struct {
	mu    sync.Mutex
	byDir map[string]*recall
}

func (r *recalls) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byDir = nil
}

func (r *recalls) forgetDir(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byDir, dir)
}

// uncover makes the next pass look at all files again.
func (r *recalls) uncover() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.byDir {
		one.uncover()
	}
}

// takeChanges makes this pass look again at the files that were reported as changed.
func (n *Node) takeChanges() {
	if n.Changes == nil {
		return
	}
	paths, all := n.Changes.Take()
	n.recalls.mu.Lock()
	defer n.recalls.mu.Unlock()
	for dir, one := range n.recalls.byDir {
		if !all {
			one.uncover()
		}
		for _, path := range paths {
			one.changed(dir, path)
		}
	}
}

// changed makes the next pass look again at a path that this one changed: its event may
// come later.
func (r *recalls) changed(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for dir, one := range r.byDir {
		one.changed(dir, path)
	}
}

// changed notes that a path may have changed.
func (r *recall) changed(dir, path string) {
	if path == dir || path == "/" || strings.HasPrefix(dir, path+"/") {
		r.uncover()
		return
	}
	name, isBelow := strings.CutPrefix(path, dir+"/")
	if !isBelow {
		return
	}
	first, _, _ := strings.Cut(name, "/")
	r.listing.changed(first) // it may be gone, and its own event come later
	for _, name := range []string{first, first + "/" + hosts.FileName} {
		if f := r.files[name]; f != nil {
			f.covered = false
		}
	}
}

func (r *recall) uncover() {
	r.listing = listing{}
	for _, f := range r.files {
		f.covered = false
	}
}

// recall returns what is remembered of a directory with that many entries, empty if all
// must be read now; nil if nothing should be remembered.
func (n *Node) recall(dir string, entries int) *recall {
	if entries < leastRecalled {
		n.recalls.forgetDir(dir) // it may have had more
		return nil
	}
	return n.remembered(dir, func(now plan.Moments) *recall {
		return &recall{files: make(map[string]*recalled, entries), boot: now.Boot, zero: zero(now)}
	})
}

// known is [Node.recall] for a directory that may not have been read yet: then it is nil.
func (n *Node) known(dir string) *recall {
	return n.remembered(dir, func(plan.Moments) *recall { return nil })
}

// remembered returns what is remembered of a directory, or else what begin returns.
func (n *Node) remembered(dir string, begin func(now plan.Moments) *recall) *recall {
	if n.Remember == 0 {
		return nil
	}
	now, err := n.now()
	if err != nil {
		return nil
	}
	n.recalls.mu.Lock()
	defer n.recalls.mu.Unlock()
	for at, one := range n.recalls.byDir {
		if !one.counts(now) || now.Since-one.now > n.Remember {
			delete(n.recalls.byDir, at)
		}
	}
	one := n.recalls.byDir[dir]
	if one == nil {
		if one = begin(now); one == nil {
			return nil
		}
		if n.recalls.byDir == nil {
			n.recalls.byDir = map[string]*recall{}
		}
		n.recalls.byDir[dir] = one
	}
	one.now, one.limit, one.changes = now.Since, now.Wall.Add(-aged), n.Changes
	return one
}

// zero returns the wall clock's time of the boot. Round takes the other clock's
// reading off, by which two times would be compared.
func zero(now plan.Moments) time.Time { return now.Wall.Round(0).Add(-now.Since) }

// counts reports whether what was read may still be taken for what is there.
func (r *recall) counts(now plan.Moments) bool {
	return r.boot == now.Boot && zero(now).Sub(r.zero).Abs() < time.Second
}

// unchanged returns what was read of a file before if the file is still the same, and
// nil if it is not.
// Different files may be asked for at the same time.
func (r *recall) unchanged(name string, in *reader) *recalled {
	f := r.files[name]
	if f == nil || f.until <= r.now {
		return nil
	}
	if f.covered {
		return f
	}
	if f.young {
		return nil
	}
	covers := r.covers(name, in) // before the file is looked at
	if !in.IsUnchanged(name, f.info) {
		return nil
	}
	f.covered = covers && hasOneName(f.info)
	return f
}

// covers reports whether each change of a file from now on will be reported, if the file is
// not a link and has no other name.
func (r *recall) covers(name string, in *reader) bool {
	return r.changes != nil && r.changes.Covers(filepath.Dir(in.Path()+"/"+name))
}

func hasOneName(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}

// isYoung reports whether a file may change once more without a new time.
func (r *recall) isYoung(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || !time.Unix(st.Ctim.Unix()).Before(r.limit)
}

// learn remembers files that were just read, except those that could change with neither a new
// time nor a report. They are read anew within most, not all in the same pass.
func (r *recall) learn(files []recalled, most time.Duration) {
	for _, f := range files {
		f.young = r.isYoung(f.info)
		if f.covered || !f.young {
			f.until = r.now + lifetime(most)
			r.files[f.name] = &f
		} else {
			delete(r.files, f.name)
		}
	}
}

// forgetGone forgets files that are no longer there, so that what is remembered has a bound.
func (r *recall) forgetGone(entries []fs.DirEntry) {
	if len(r.files) <= len(entries) {
		return
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	maps.DeleteFunc(r.files, func(name string, _ *recalled) bool {
		first, _, _ := strings.Cut(name, "/")
		return !there[first]
	})
	maps.DeleteFunc(r.namespaces, func(name string, _ knownNamespace) bool { return !there[name] })
}
