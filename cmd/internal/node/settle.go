package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const (
	// stillness is how long a file that other programs write must be unchanged
	// before it is trusted or written.
	stillness = 2 * time.Second
	// patience is how long one run waits for that.
	patience = 5 * time.Second
	// recheck is how often to check a file that a process has open.
	recheck = 200 * time.Millisecond
)

// A firstSight is when a file's present content was first seen.
type firstSight struct {
	content string
	since   plan.Moment
}

// settles returns why a shared file may still be changing, "" if it is stable,
// and when to check again. It is stable if its last change is older than two
// seconds and no process has it open for writing, or if it was the same at two
// checks two seconds apart. A time in the future counts as old. isBroken says
// that the file is empty or does not parse: then it is stable only if no
// process has it open.
func (n *Node) settles(path string, v plan.Version, content string, isBroken bool, now plan.Moment) (why string, left time.Duration) {
	if n.firstSeen == nil {
		n.firstSeen = map[string]firstSight{}
	}
	seen := n.firstSeen[path]
	if seen.content != content || seen.since.Boot != now.Boot {
		seen = firstSight{content, now}
		n.firstSeen[path] = seen
	}
	same, age := now.Since-seen.since.Since, n.host.wall().Sub(v.Changed)
	isOpen := slices.ContainsFunc(v.Files, hasWriter)
	isOld := age < 0 || age >= stillness
	switch {
	case isOpen && isBroken:
		return fmt.Sprintf("another program is writing %s, and it is not complete yet", path), recheck
	case isOld && !isOpen, same >= stillness:
		return "", 0
	case isOpen:
		return fmt.Sprintf("another program has %s open for writing", path), min(recheck, stillness-same)
	}
	return fmt.Sprintf("another program changed %s less than %v ago", path, stillness), min(stillness-age, stillness-same)
}

// Apply makes the node match its map as far as possible now, and returns the
// plan that it carried out. It waits a few seconds for files that another
// program may be writing: the kubelet's configuration, and a map that removes
// sources or credentials. After an error, or when ctx ends, the node is in a good state
// between two changes, and the next run goes on from there.
func (n *Node) Apply(ctx context.Context) (plan.Plan, error) {
	for began := time.Now(); ; {
		mayWait := !n.elsewhere && time.Since(began) < patience
		var left time.Duration
		hold := func(string) bool {
			why, again := n.mapSettles()
			left = max(left, again)
			return why != ""
		}
		todo, err := n.ApplyUnless(ctx, hold, func(p plan.Plan) bool {
			left = max(left, p.Settles)
			return mayWait && left > 0
		})
		if err != nil || !mayWait || left == 0 {
			for _, w := range todo.Held {
				todo.Pending = append(todo.Pending, plan.NewPending(w.Source, fault.Fault{What: w.Why.What + " less than 2s ago", Fix: "run this again"}))
			}
			return todo, err
		}
		select {
		case <-ctx.Done():
			return todo, &InterruptedError{Changes: len(todo.Changes)}
		case <-time.After(min(left, patience-time.Since(began))):
		}
	}
}

// stampOfMap identifies the file of the map as it is now.
func (n *Node) stampOfMap() string {
	v, _ := versionOf(nil, n.Map) // without it, the map cannot be read either
	return v.Stamp
}

// mapSettles is [Node.settles] for the map.
func (n *Node) mapSettles() (why string, left time.Duration) {
	if n.elsewhere {
		return "", 0
	}
	v, err := versionOf(nil, n.Map)
	now, errNow := n.host.now()
	if err != nil || errNow != nil {
		return "", 0
	}
	return n.settles(n.Map, v, v.Stamp, false, now)
}
