package node

import (
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A pass over 10,000 mirrors spends most of its time on opening and reading files that
// have not changed. So a node that is applied again and again remembers what it read,
// and asks the kernel only whether each file is still the same.
//
// The answer comes from the time of the inode's last change, which no program can set.
// But the clock is coarse, and it can be set back; and a program that writes through
// mapped memory need not change the time at once. So a file counts only once its time
// is old, all is forgotten if the clock was set, and from time to time all is read
// anew. Until then, what is missed is missed as if its event had been lost. No file is
// replaced or removed for what is remembered: it is read again right before.

// leastRecalled is how many files a directory must have for that. Reading fewer is quick, and
// costs no memory.
const leastRecalled = 200

// aged is how old a file's time must be: more than the step of any file system's clock.
const aged = 3 * time.Second

// A recall is what was read in one directory.
type recall struct {
	files map[string]recalled // by name below the directory
	since plan.Moment         // when everything was read
	// zero is the time since boot at which the wall clock began to count, so to speak:
	// it changes if that clock is set.
	zero time.Time
	// limit is the newest time of a file that counts.
	limit time.Time
}

// A recalled is a file that was read.
type recalled struct {
	name string
	data []byte
	info fs.FileInfo
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

// recall returns what is remembered of a directory with that many entries, empty if all
// must be read now; nil if nothing should be remembered.
func (n *Node) recall(dir string, entries int) *recall {
	if n.Remember == 0 || entries < leastRecalled {
		return nil
	}
	now, err := n.now()
	if err != nil {
		return nil
	}
	n.recalls.mu.Lock()
	defer n.recalls.mu.Unlock()
	for at, one := range n.recalls.byDir {
		if !one.counts(now, n.Remember) {
			delete(n.recalls.byDir, at)
		}
	}
	one := n.recalls.byDir[dir]
	if one == nil {
		one = &recall{files: make(map[string]recalled, entries), since: now.Moment, zero: zero(now)}
		if n.recalls.byDir == nil {
			n.recalls.byDir = map[string]*recall{}
		}
		n.recalls.byDir[dir] = one
	}
	one.limit = now.Wall.Add(-aged)
	return one
}

// zero returns the wall clock's time of the boot. Round takes the other clock's
// reading off, by which two times would be compared.
func zero(now plan.Moments) time.Time { return now.Wall.Round(0).Add(-now.Since) }

// counts reports whether what was read may still be taken for what is there.
func (r *recall) counts(now plan.Moments, most time.Duration) bool {
	return r.since.Boot == now.Boot && now.Since-r.since.Since < most && zero(now).Sub(r.zero).Abs() < time.Second
}

// learn remembers files that were just read, if their times are old enough.
func (r *recall) learn(files []recalled) {
	for _, f := range files {
		if st, ok := f.info.Sys().(*syscall.Stat_t); ok && time.Unix(st.Ctim.Unix()).Before(r.limit) {
			r.files[f.name] = f
		} else {
			delete(r.files, f.name)
		}
	}
}
