package main

import (
	"context"
	"reflect"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/ready"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// askReady asks the first targets of new mirrors once whether they are up, before a plan
// is made for them. What is wrong with the map, the run itself reports.
func askReady(ctx context.Context, n *node.Node) {
	m, err := n.ReadMap()
	if err != nil {
		return
	}
	if wants := ready.Wanted(n.Unready(m)); len(wants) > 0 {
		ready.Once(ctx, wants, ready.Options{Root: n.Root, Proxy: client.Proxy(containerdEnvironment(n.Root))})
	}
}

// An asking asks the first targets of a map's mirrors, until each has answered.
type asking struct {
	ready.Options
	wants []ready.Want
	stop  func() // nil before the first map
}

// follow asks for the mirrors of a map from now on, and no more for those of the map
// before.
func (a *asking) follow(ctx context.Context, wants []ready.Want) {
	if a.stop != nil && reflect.DeepEqual(wants, a.wants) {
		return
	}
	a.end()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ready.Run(ctx, wants, a.Options)
	}()
	a.wants, a.stop = wants, func() { cancel(); <-done }
}

// end ends that, and waits until it has ended.
func (a *asking) end() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}
