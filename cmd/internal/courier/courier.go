// Package courier carries a map from the cluster to the host of a node, and
// reports to the cluster what the host makes of it. It runs in a pod that has two
// directories of the host: the one that it delivers to, and that of the watcher's
// socket. It has no other right, and nothing that a node needs to pull an image
// depends on it.
//
// It knows whether a map parses, and what the node allows if the pod brings that list,
// but not how the node is set up: the watcher on the host decides that, and its status
// says so. Start at
// [Courier.Run].
package courier

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// Options say what to carry and where.
type Options struct {
	Map     string // the map in the pod
	Allowed string // what it may name on the node, in the pod; "" if that is not known
	Deliver string // the directory on the host
	Self    Holder
	Host    watch.Client // of the host's watcher
	Log     *slog.Logger
}

// The names of the files in the directory that is delivered to.
const (
	mapName  = "mirrors.toml"
	lockName = "courier.lock"
)

const (
	// tick is how often the map is read although no event came: the kernel may drop
	// events.
	tick = time.Minute
	// lockTick is how often to try to take a lock that another courier holds.
	lockTick = 2 * time.Second
	// late is how long ago the last turn of a healthy courier may be.
	late = 3 * tick
	// starting is the fault before the first turn.
	starting = "the courier has only just started"
)

// A Courier carries one map. [New] makes it.
type Courier struct {
	o      Options
	carry  *carrier
	lock   *lock
	events *watch.Events
	host   *host

	mu    sync.Mutex
	state state
	fault episode.Episode // of the loop's own
}

// A state is how far a courier got.
type state struct {
	turned time.Time // when the last turn of its loop began
	other  *Holder   // who holds the lock, nil if this courier does
	hash   string    // of the map that lies on the host by this courier; "" for none
	fault  string    // why the pod's map is not there, "" if it is
}

// New returns a courier that has not begun.
func New(o Options) *Courier {
	return &Courier{
		o: o, carry: &carrier{to: filepath.Join(o.Deliver, mapName), allowed: o.Allowed, tree: durable.Tree{}},
		lock: &lock{path: filepath.Join(o.Deliver, lockName), self: o.Self}, events: watch.NewEvents(o.Log),
		host: &host{client: o.Host}, state: state{turned: time.Now(), other: &Holder{}, fault: starting},
	}
}

// Run carries the map whenever it changes, until ctx ends. The map that it
// delivered last stays.
func (c *Courier) Run(ctx context.Context) {
	defer c.lock.release()
	defer c.events.Close()
	for {
		next := tick
		if !c.turn() {
			next = lockTick
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-c.events.Hints():
			timer.Stop()
		}
	}
}

// turn takes the lock if it is free, and carries the map. It reports whether it
// has the lock.
func (c *Courier) turn() bool {
	now := time.Now()
	other, err := c.lock.take()
	s := c.current()
	s.turned, s.other = now, other
	switch {
	case err != nil:
		s.fault = err.Error()
		s.other = &Holder{}
	case other != nil:
		s.hash, s.fault = "", other.fault(c.lock.path)
	default:
		c.took()
		hash, err := c.carry.run(c.o.Map)
		if s.fault = ""; err != nil {
			s.fault = err.Error()
		} else if s.hash != hash {
			c.o.Log.Info("map delivered", "map", c.carry.to, "hash", hash)
			s.hash = hash
			debug.FreeOSMemory() // what the parser needed is garbage now
		}
	}
	c.become(s)
	watched := []string{c.o.Map, c.carry.to, c.lock.path}
	if c.o.Allowed != "" {
		watched = append(watched, c.o.Allowed)
	}
	c.events.Watch(watched)
	return s.other == nil
}

// took logs that a lock was taken, and from whom.
func (c *Courier) took() {
	before, isNew := c.lock.predecessor()
	if !isNew {
		return
	}
	if before == nil || *before == c.o.Self {
		c.o.Log.Info("lock taken", "ring", c.o.Self.Ring, "pod", c.o.Self.Pod)
		return
	}
	c.o.Log.Info("lock taken over", "ring", c.o.Self.Ring, "pod", c.o.Self.Pod, "old_ring", before.Ring, "old_pod", before.Pod)
}

func (c *Courier) current() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// become stores a new state, and logs a fault when it begins and when it ends.
func (c *Courier) become(s state) {
	c.mu.Lock()
	c.state = s
	c.mu.Unlock()
	switch {
	case s.fault == "":
		c.fault.Ends(c.o.Log, "map delivered again")
	case c.fault.Begins(c.o.Log, s.fault):
		c.o.Log.Error("map not delivered", "error", s.fault)
	}
}
