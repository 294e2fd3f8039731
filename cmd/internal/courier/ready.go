package courier

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// A View is what a courier and its host know of the node.
type View struct {
	Hash   string       // of the map that was delivered, "" for none
	Status watch.Status // the host's, the zero Status if it does not answer
	// Unready is why the node is not as the pod's map says, "" if it is.
	Unready string
}

// View asks the host.
func (c *Courier) View(ctx context.Context) View {
	s := c.current()
	status, err := c.host.status(ctx)
	v := View{Hash: s.hash, Status: status}
	switch {
	case s.fault != "":
		v.Unready = s.fault
	case err != nil:
		v.Unready = err.Error()
	default:
		v.Unready = unready(s.hash, status)
	}
	return v
}

// unready says why a host does not do what the map with a hash says, "" if it
// does. A removed mirror that drains, or is held, is what the map says. What waits
// for a restart of the kubelet counts only if the host restarts it by itself:
// otherwise it waits for a person.
func unready(hash string, s watch.Status) string {
	switch {
	case s.LastReconcile.IsZero():
		return "the watcher has only just started"
	case s.UnusedMap != "":
		return fmt.Sprintf("the node has a map of its own, so this one does not count; remove %s", s.Map)
	case s.MapHash != hash:
		return "the watcher has not read this map yet"
	case s.Fault != "":
		return s.Fault
	case s.BackingOff:
		return "another program keeps reverting mirrorcred's files"
	case len(s.Conflicts) > 0:
		return fmt.Sprintf("%s: %s", s.Conflicts[0].Path, s.Conflicts[0].Reason)
	case len(s.Faults) > 0:
		return fmt.Sprintf("%s: %s", s.Faults[0].Source, s.Faults[0].Reason)
	case len(s.Pending) > 0 && s.RestartKubelet:
		return fmt.Sprintf("%s: %s", s.Pending[0].Source, s.Pending[0].Reason)
	}
	return ""
}

// A host is the watcher, which is asked at most once a second: any pod can ask a
// courier.
type host struct {
	client watch.Client

	mu    sync.Mutex
	asked time.Time
	last  watch.Status
	err   error
}

// fresh is how long an answer counts.
const fresh = time.Second

func (h *host) status(ctx context.Context) (watch.Status, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.asked) >= fresh {
		// The answer is for all who ask, and the one who asked first may hang up.
		h.last, h.err = h.client.Status(context.WithoutCancel(ctx))
		h.asked = time.Now()
	}
	return h.last, h.err
}
