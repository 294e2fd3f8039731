// Package fleet simulates the requests of thousands of nodes: at the metadata
// service of each, at a registry's token service, and at its data.
//
// The code of a node is the real one: the plugin's token cache, in memory instead of
// in files, its requests for a token with their retries, and the watcher with its
// wait before a restart of the kubelet. What is modelled is what others do: the cloud,
// the kubelet's pulls and its pauses between them, containerd's requests, and a plugin
// without a token cache of its own.
//
// Time is that of the caller, who runs everything in a bubble of testing/synctest: there
// a day takes seconds, and every timer, deadline and retry is on the bubble's clock.
// All random numbers come from the number of the node, so that each run has the same
// result.
//
// Start at [Scenarios] and [Scenario.Play].
package fleet

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	// PullRequests is what containerd sends a registry for an image with an index and
	// three layers: HEAD without a token, the token, HEAD, index, manifest,
	// configuration, and the layers.
	PullRequests = 9
	// TokenRequests is what the plugin sends it for one credential: the challenge and
	// the exchange.
	TokenRequests = 2
	// refusedRequests is what containerd sends if the plugin had no credential: HEAD,
	// and a token that it does not get.
	refusedRequests = 2
	// mostAttempts is how often containerd sends a request that is answered 429, without
	// a pause (containerd v2.4.2, core/remotes/docker/resolver.go).
	mostAttempts = 5
)

// Premium is the least number of requests a minute that a Premium registry of Azure
// serves; see also basic and standard
// (learn.microsoft.com/azure/container-registry/container-registry-skus).
const (
	Premium  = 10_000
	standard = 3_000
	basic    = 1_000
)

// perSecond is how many requests a second the rule for the jitter plans for: those of a
// Premium registry less a sixth, because waits that are drawn at random do not spread
// evenly.
const perSecond = 140

// Jitter returns the wait before a restart of the kubelet that keeps nodes below the
// limit of one Premium registry, if each pulls a number of images after it.
func Jitter(nodes, pulls int) time.Duration {
	requests := nodes * (TokenRequests + PullRequests*pulls)
	return max(watch.DefaultJitter, time.Duration((requests+perSecond-1)/perSecond)*time.Second)
}

// A Scenario is something that happens to a fleet.
type Scenario struct {
	Name string
	// From and To are the time that is measured, since the start.
	From, To time.Duration
	// Limit is how many requests a minute the registry serves; 0 means all.
	Limit int
	// Peers says that what the cache makes of it matters, so that others are tried too.
	Peers bool
	// Live is the life of a node, until To.
	Live func(context.Context, *Node)
}

// Play plays a scenario with a number of nodes, each with the plugin that caches as
// told.
func (s Scenario) Play(nodes int, keeps Caching) *Result {
	cloud := NewCloud()
	cloud.limit = s.Limit
	ctx, cancel := context.WithTimeout(context.Background(), s.To)
	defer cancel()
	list := make([]*Node, nodes)
	var living sync.WaitGroup
	for i := range list {
		list[i] = NewNode(cloud, i)
		list[i].keeps = keeps
		living.Go(func() { s.Live(ctx, list[i]) })
	}
	living.Wait()
	return newResult(s, cloud, list)
}

// Scenarios returns what a fleet of some nodes is tried with.
func Scenarios(nodes int) []Scenario {
	const day = 24 * time.Hour
	change := func(name string, jitter time.Duration) Scenario {
		return Scenario{Name: name, To: jitter + 10*time.Second, Live: func(ctx context.Context, n *Node) { n.changeMap(ctx, jitter) }}
	}
	busy := change(ChangeBusy, watch.DefaultJitter)
	busy.To, busy.Limit = 2*time.Hour, Premium*nodes/fullFleet
	return []Scenario{
		// The first hours are those in which the caches fill.
		{Name: Steady, From: 4 * time.Hour, To: 4*time.Hour + day, Peers: true, Live: steady},
		{Name: Cron, From: 30 * time.Minute, To: 30*time.Minute + day, Peers: true, Live: cron},
		{Name: Reboot, To: 160 * time.Second, Peers: true, Live: reboot},
		change(Change, Jitter(nodes, 1)),
		change(ChangeSoon, watch.DefaultJitter),
		busy,
	}
}

// fullFleet is the number of nodes that the limit of one Premium registry is held
// against.
const fullFleet = 10_000

// Names of the scenarios.
const (
	Steady     = "steady, 6 pulls an hour"
	Cron       = "a job each hour, on the hour"
	Reboot     = "all reboot, 10 pulls each"
	Change     = "map change"
	ChangeSoon = "map change, all within 30 s"
	ChangeBusy = "the same, the registry answers 429"
)

// steady pulls at random times, 6 images an hour.
func steady(ctx context.Context, n *Node) {
	for sleep(ctx, time.Duration(n.random.ExpFloat64()*float64(10*time.Minute))) {
		n.Pull(ctx, Registry)
	}
}

// cron pulls one image at each hour: within ten seconds, which is how long the jobs
// take to become pods.
func cron(ctx context.Context, n *Node) {
	for hour := n.cloud.start.Add(time.Hour); sleep(ctx, time.Until(hour)); hour = hour.Add(time.Hour) {
		if sleep(ctx, n.upTo(10*time.Second)) {
			n.Pull(ctx, Registry)
		}
	}
}

// reboot comes up within two minutes with an empty /run, and pulls ten images within
// half a minute.
func reboot(ctx context.Context, n *Node) {
	if !sleep(ctx, n.upTo(2*time.Minute)) {
		return
	}
	var pulls sync.WaitGroup
	for range 10 {
		wait := n.upTo(30 * time.Second)
		pulls.Go(func() {
			if sleep(ctx, wait) {
				n.Pull(ctx, Registry)
			}
		})
	}
	pulls.Wait()
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Registry is the one that the scenarios pull from.
var Registry = mustHost("contoso.azurecr.io")

func mustHost(name string) mirror.Host {
	host, err := mirror.ParseHost(name)
	if err != nil {
		panic(err) // it is a constant
	}
	return host
}

// quiet is the log of the watchers.
var quiet = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))

// randomOf returns the random numbers of a node.
func randomOf(node int) *rand.Rand { return rand.New(rand.NewPCG(20261130, uint64(node))) }
