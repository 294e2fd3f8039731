package plan

import (
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Moments are one moment by both clocks.
type Moments struct {
	Moment
	Wall time.Time
}

// Make returns what must change on a node to reach the desired state, given what was
// observed there. If it returns questions, there is no plan yet: put the answers into
// the observed state and call Make again.
func Make(d Desired, o Observed, now Moments) (Plan, []Question, error) {
	return makeFrom(d, o, now, newSettled)
}

// makeFrom is [Make] with a function that returns what is settled. The plan is the same
// if it returns nothing.
func makeFrom(d Desired, o Observed, now Moments, newSettled func(*Desired, routes, tree) settled) (Plan, []Question, error) {
	c := newConfiguring(&d, &o, now)
	routes := newRoutes(&o, c.tree.dir)
	all, tree := carryOver(c.tree, o.oldNamespaces(), routes)
	certs, blocked := certificates(&d, o.Certificates, tree)
	certs = certs.and(headers(&d, o.HeaderFaults, blocked)).and(deliveries(&d, o.Deliveries, blocked)).and(renewals(&d, &o))
	routes.settled = newSettled(&d, routes, tree)
	stuck := obstacles(d.Files, tree)
	for name := range stuck {
		blocked[name] = true
	}
	c.tree, c.blocked, c.held = tree, blocked, hold(&d, &o, c.plugin, routes, tree)
	next, err := settledConfiguration(c)
	switch {
	case err != nil:
		return Plan{}, next.questions, About(PartKubelet, err)
	case o.KubeletFault != nil && !d.Elsewhere:
		return Plan{}, next.questions, o.KubeletFault
	case len(next.questions) > 0:
		return Plan{}, next.questions, nil // the sources need not be planned for that
	}
	read := readBy(&d, &o, c.machine, next.provided)
	lasting, unfinished := lastingOf(&o, now, c.machine)
	all = all.and(certs).and(share{warnings: unencrypted(&d)}).and(c.held.share).and(next.share).and(share{warnings: read.warnings})
	leaves := !next.unsettled.None() && !c.plugin.ReadsRoutes()
	ks := newKubelets(c, next, read)
	routes.needed = c.plugin.needsRoutes(ks, len(o.Routes) > 0)
	if leaves {
		all = all.and(leaveAll(&d, next.unsettled)).and(moveAll(routes, tree))
	} else {
		all = all.and(planSources(&situation{
			Desired: &d, seen: &o, now: now, tree: tree, routes: routes, kubelets: ks,
			blocked: blocked, stuck: stuck, held: c.held.removals, kept: c.held.mirrors, lasting: lasting,
		}))
	}
	all = all.and(waitForFile(d.Map.Kubelet.Config, next.unsettled, all.pending))
	if len(all.questions) > 0 || all.err != nil {
		return Plan{}, all.questions, all.err
	}

	p := c.emptyPlan()
	p.Next.Lasting, p.lasting = lasting, unfinished
	p.take(all)
	p.takeConfiguration(next)
	p.Routed = routes.needed
	p.Ends = nextEnd(&d, o.Deliveries)
	p.Next.Ready = nextReady(d.Map, o.State, all.begins, now.Moment)
	p.Next.Kubelets, p.Next.Others = read.known, nextOthers(c, next)
	if leaves {
		p.Next.Drains, p.Next.Adopted = o.State.Drains, o.State.Adopted
	}
	return p, nil, nil
}

func newConfiguring(d *Desired, o *Observed, now Moments) *configuring {
	return &configuring{Desired: d, seen: o, now: now, plugin: pluginOf(d.full()), machine: machineOf(d, o), tree: newTree(d, o)}
}

// newKubelets returns the running kubelets, with what the map requires of them.
func newKubelets(c *configuring, next configuration, read reads) *kubelets {
	ks := &kubelets{
		list: read.list, unseen: c.machine.unseen, plugin: c.plugin,
		wants: next.wants, mapped: next.mapped, rejected: next.isRejected(), unsettled: next.unsettled,
	}
	if !next.unsettled.None() {
		ks.file = newProviders(c.seen.entries())
	}
	return ks
}

// planSources returns the share of all sources, of this map and of the previous one.
func planSources(in *situation) share {
	in.direct = direct(in)
	var all share
	if !in.routes.needed {
		all = all.and(staleLinks(in.seen.Links, in.Map.Kubelet.BinDir, nil))
	}
	for i := range in.Files {
		if one := planSource(in, i); !one.isEmpty() {
			all = all.and(one)
		}
	}
	all = all.and(defaultLeft(in.tree, all.leavesDefault)).and(moveHeld(in))
	gone, stuck := removed(in)
	drains := draining(gone.drains)
	stays := func(name string) bool { return drains[name] || in.held[name] || stuck[name] }
	return all.and(gone).and(fallback(in, stays)).and(staleRoutes(in, stays))
}

// direct returns the credential of login servers without a mirror. It does not change
// while something is held.
func direct(in *situation) *mirror.Credential {
	if r, _ := in.routes.of(hosts.Default); r.Direct != nil && len(in.held)+len(in.kept) > 0 {
		return r.Direct
	}
	if c, ok := in.Map.Azure(); ok {
		return &c
	}
	return nil
}

// emptyPlan returns the plan in which nothing changes.
func (c *configuring) emptyPlan() Plan {
	state, m := c.seen.State, c.Map
	return Plan{
		Changes: []Change{}, Pending: []Pending{}, Draining: []Pending{}, Held: []Pending{}, Conflicts: []Conflict{}, Faults: []Pending{},
		Warnings: append([]doctor.Finding{}, c.seen.Warnings...), Loss: c.seen.Loss.Error(), LossWhy: c.seen.Loss, Sources: len(c.Files),
		Notes: notesOf(m), Generation: c.Generation, AuditLog: m.Kubelet.AuditLog, Credentials: credentialsOf(m), Wanted: c.Wanted,
		HostsDir: m.Containerd.HostsDir, BinDir: m.Kubelet.BinDir, KubeletConfig: m.Kubelet.Config, Leftovers: c.seen.Leftovers,
		remembered: state,
		Next: State{
			Containerd: m.Containerd, Drains: map[string]Drain{}, Provided: state.Provided, Stamp: state.Stamp,
			Adopted: map[string]string{}, Lasting: map[string]Moment{}, OldTrees: state.nextTrees(m.Containerd.HostsDir),
		},
	}
}

func credentialsOf(m *mirror.Map) []string {
	names := make([]string, len(m.Credentials))
	for i, c := range m.Credentials {
		names[i] = c.Name
	}
	return names
}

func notesOf(m *mirror.Map) []string {
	notes := make([]string, len(m.Notes))
	for i, note := range m.Notes {
		notes[i] = note.Error()
	}
	return notes
}

// take puts a share into an empty plan.
func (p *Plan) take(s share) {
	p.Changes = append(p.Changes, s.changes...)
	sortChanges(p.Changes)
	p.Pending, p.Draining = append(p.Pending, s.pending...), append(p.Draining, s.draining...)
	p.Held, p.Faults = append(p.Held, s.held...), append(p.Faults, s.faults...)
	p.Conflicts, p.Warnings = append(p.Conflicts, s.conflicts...), append(p.Warnings, s.warnings...)
	p.NeedsRestart = s.needsRestart
	for _, one := range s.adopted {
		p.Next.Adopted[one.name] = one.sum
	}
	for _, step := range s.drains {
		p.Next.Drains[step.name] = step.Drain
		if step.begins {
			p.withdraw = append(p.withdraw, step.name)
		}
		if step.ends {
			p.ended = append(p.ended, step.name)
		}
		if step.isOver {
			delete(p.Next.Lasting, step.name)
		}
	}
	for _, name := range s.lasting {
		p.Next.Lasting[name] = Moment{} // until it is done
		p.lasting = append(p.lasting, name)
	}
}

// takeConfiguration puts the share of the kubelet's configuration into a plan.
func (p *Plan) takeConfiguration(next configuration) {
	p.Wants, p.memo, p.NewAudiences, p.Settles = next.wants, next.memo, next.audiences, next.settles
	if !next.isRejected() {
		p.entries = next.wants
	}
	p.Next.Provided, p.Next.Made, p.Next.Rejected = next.provided, next.made, next.rejected
}
