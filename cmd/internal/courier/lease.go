package courier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
)

const (
	// renewal is how often a Lease that does not change is renewed. 10,000 nodes
	// then make 17 requests a second: the kubelets' own Leases, renewed every 10 s,
	// make 1,000.
	renewal = 10 * time.Minute
	// duration is how long a Lease counts: two renewals may fail.
	duration = 25 * time.Minute
	// spread is the random time by which a change is late, so that all nodes that
	// get a new map do not write at once; and the least time between two changes.
	spread = 30 * time.Second
	// pollInterval is how often to ask the host what is new.
	pollInterval = 15 * time.Second
	// mostRetry is the longest time between two tries; the first is after spread.
	mostRetry = renewal
)

// A Lease is what a node's Lease says.
type Lease struct {
	Node, Ring, Pod string
	Map             string // the hash of the map that the host has read last
	InSync          bool
	Version         string // of the host's mirrorcred
	Fault           string // the first line of it
}

// mostFault is the longest fault in a Lease, in bytes.
const mostFault = 256

// leaseOf returns the Lease for what a courier sees.
func leaseOf(v View, node string, self Holder) Lease {
	fault, _, _ := strings.Cut(v.Unready, "\n")
	if len(fault) > mostFault {
		fault = strings.ToValidUTF8(fault[:mostFault], "") + "…"
	}
	return Lease{Node: node, Ring: self.Ring, Pod: self.Pod, Map: v.Status.MapHash, InSync: v.Unready == "", Version: v.Status.Version, Fault: fault}
}

// summary is the Lease in a few words: "kubectl get leases" shows it as the
// holder.
func (l Lease) summary() string {
	state := "in-sync"
	if !l.InSync {
		state = "not-in-sync"
	}
	text := state + " ring=" + l.Ring
	if l.Map != "" {
		text += " map=" + l.Map[:min(12, len(l.Map))]
	}
	if l.Version != "" {
		text += " version=" + l.Version
	}
	return text
}

// A leaseWriter writes a Lease to the cluster.
type leaseWriter interface {
	// WriteLease writes it, renewed now. If it fails, retry is how long the cluster
	// asks to be left alone, 0 if it does not say.
	WriteLease(ctx context.Context, l Lease, now time.Time) (retry time.Duration, err error)
}

// A Reporter keeps the Lease of a node.
type Reporter struct {
	Node   string
	Self   Holder
	See    func(context.Context) View
	Writer leaseWriter
	Log    *slog.Logger
}

// Run writes the Lease when it changes and when it must be renewed, until ctx
// ends. A cluster that does not answer is asked less and less often.
func (r Reporter) Run(ctx context.Context) {
	p := pace{}
	for {
		lease := leaseOf(r.See(ctx), r.Node, r.Self)
		now := time.Now()
		if wait := p.wait(lease, now); wait > 0 {
			if !sleep(ctx, min(wait, pollInterval)) {
				return
			}
			continue
		}
		retry, err := r.Writer.WriteLease(ctx, lease, now)
		if ctx.Err() != nil {
			return
		}
		p.wrote(lease, now, retry, err)
		r.log(err, &p)
	}
}

// log logs a failure when it begins and when it ends.
func (r Reporter) log(err error, p *pace) {
	switch {
	case err == nil:
		p.fault.Ends(r.Log.With("node", r.Node), "lease written again")
	case p.fault.Begins(r.Log.With("node", r.Node), err.Error()):
		r.Log.Error("lease not written", "node", r.Node, "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// A pace says when to write a Lease.
type pace struct {
	last    Lease     // that was written, the zero Lease before the first
	at      time.Time // when that was
	due     time.Time // when it is renewed
	changed Lease     // one that differs from last
	after   time.Time // when to write that
	rest    time.Time // the cluster is not asked before
	tries   int       // that failed in a row
	fault   episode.Episode
}

// wait returns how long to wait before a Lease is written, 0 for not at all.
func (p *pace) wait(lease Lease, now time.Time) time.Duration {
	when := p.due
	if lease != p.last {
		if p.changed == (Lease{}) {
			// One that changes again meanwhile is written as it is then.
			p.after = now.Add(rand.N(spread))
			if least := p.at.Add(spread); p.after.Before(least) && !p.at.IsZero() {
				p.after = least
			}
		}
		p.changed = lease
		when = p.after
	} else {
		p.changed = Lease{}
	}
	if when.Before(p.rest) {
		when = p.rest
	}
	return max(0, when.Sub(now))
}

// wrote notes how a write ended.
func (p *pace) wrote(lease Lease, now time.Time, retry time.Duration, err error) {
	if err != nil {
		pause := min(mostRetry, spread<<min(p.tries, 10))
		p.tries++
		p.rest = now.Add(max(retry, pause/2+rand.N(pause/2)))
		return
	}
	p.last, p.at, p.changed, p.tries, p.rest = lease, now, Lease{}, 0, time.Time{}
	p.due = now.Add(renewal - rand.N(renewal/10))
}

// leaseTime is how the API writes the time of a Lease.
const leaseTime = "2006-01-02T15:04:05.000000Z07:00"

// The keys of what a Lease says.
const (
	annotations    = "mirrorcred.io/"
	managedBy      = "app.kubernetes.io/managed-by"
	managedByValue = "mirrorcred"
)

// fields returns the Lease as the API has it, without its name.
func (l Lease) fields(now time.Time) map[string]any {
	return map[string]any{
		"metadata": map[string]any{
			"labels": map[string]string{managedBy: managedByValue},
			"annotations": map[string]string{
				annotations + "map": l.Map, annotations + "in-sync": strconv.FormatBool(l.InSync), annotations + "version": l.Version,
				annotations + "ring": l.Ring, annotations + "pod": l.Pod, annotations + "fault": l.Fault,
			},
		},
		"spec": map[string]any{
			"holderIdentity": l.summary(), "leaseDurationSeconds": int(duration.Seconds()), "renewTime": now.UTC().Format(leaseTime),
		},
	}
}
