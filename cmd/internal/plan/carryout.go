package plan

import (
	"context"
	"maps"
	"slices"
)

// A Carrier carries out a plan, one step at a time. A method that changes something
// returns once the change would survive a power cut.
type Carrier interface {
	// Change makes the changes of one stage. If something in a namespace cannot be
	// changed, the namespace is left alone and added to the plan's Refused.
	Change(ctx context.Context, stage Stage, changes []Change, p *Plan) error
	// Remember writes down what later runs have to know.
	Remember(s State) error
	// Arm records what the plugin's answers rely on, and Disarm removes that
	// record, so that the plugin returns no credentials.
	Arm() error
	Disarm() error
	// Resume lets the plugin answer again.
	Resume() error
	// Interrupted returns an error if the run must end before its next change
	// because its context has ended.
	Interrupted(ctx context.Context) error
	// Now returns the present moment.
	Now() (Moment, error)
	// Kubelets returns the kubelets that run, and why another one may.
	Kubelets() (running []Process, unseen string, err error)
	// Stamp returns the stamp of the kubelet's files, and false if they are not as
	// a plan's changes left them.
	Stamp(p *Plan) (string, bool)
}

// CarryOut carries out a plan, stage by stage. Between the stages it records what
// later runs must know even if this one is killed.
func (p *Plan) CarryOut(ctx context.Context, c Carrier) error {
	p.Refused = map[string]bool{}
	for _, stage := range Stages {
		if err := p.carryOut(ctx, c, stage); err != nil {
			return err
		}
	}
	if !p.Routed {
		if err := c.Disarm(); err != nil {
			return err
		}
	}
	if len(p.ended)+len(p.lasting) == 0 {
		return nil
	}
	return p.rememberEnded(c)
}

// carryOut is [Plan.CarryOut] for one stage.
func (p *Plan) carryOut(ctx context.Context, c Carrier, stage Stage) error {
	changes := slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool {
		return c.Stage != stage || p.Refused[ChangedNamespace(c)]
	})
	if len(changes) > 0 {
		if err := c.Interrupted(ctx); err != nil {
			return err
		}
	}
	if err := p.prepare(c, stage, len(changes) > 0); err != nil {
		return err
	}
	if err := c.Change(ctx, stage, changes, p); err != nil {
		return err
	}
	switch stage {
	case StageRoutes:
		// The plugin is stopped until what it may answer now is there.
		return c.Resume()
	case StageKubelet:
		return p.remember(c)
	}
	return nil
}

// prepare does what must be done before the changes of a stage.
func (p *Plan) prepare(c Carrier, stage Stage, hasChanges bool) error {
	switch {
	case stage == StageRoutes:
		if s, changed := p.located(); changed {
			if err := c.Remember(s); err != nil {
				return err
			}
		}
		if p.Routed {
			return c.Arm()
		}
	case stage == StageKubelet && hasChanges:
		return c.Remember(p.announced())
	}
	return nil
}

// located returns the state with the place of containerd, and false if the last
// state has it already. It is written before any route, because a route is valid
// only while that containerd reads mirrorcred's tree. It forgets an earlier drain of a source
// that is about to drain again, so that the two are never confused.
func (p *Plan) located() (State, bool) {
	s := p.remembered
	s.Drains = maps.Clone(s.Drains)
	for _, name := range p.withdraw {
		delete(s.Drains, name)
	}
	if s.Containerd == p.Next.Containerd && len(s.Drains) == len(p.remembered.Drains) {
		return State{}, false
	}
	s.Containerd, s.OldTrees = p.Next.Containerd, p.Next.OldTrees
	return s, true
}

// announced returns the state that says which kubelet configuration comes next, so
// that a later run can tell it from one that another program wrote, also if this
// one is killed halfway.
func (p *Plan) announced() State {
	s := State{
		Containerd: p.Next.Containerd, Provided: p.Next.Provided, Memo: p.memo, Drains: map[string]Drain{},
		Made: p.Next.Made || p.remembered.Made, Adopted: p.Next.Adopted, Lasting: p.Next.Lasting,
		OldTrees: p.Next.OldTrees, Stamp: p.remembered.Stamp, Kubelets: p.Next.Kubelets, Ready: p.Next.Ready,
	}
	for name, d := range p.Next.Drains {
		if !slices.Contains(p.withdraw, name) {
			s.Drains[name] = d
		}
	}
	return s
}

// remember writes down what later runs must wait for. It comes after the stages
// concerned, so that a moment in it is never too early.
func (p *Plan) remember(c Carrier) error {
	now, err := c.Now()
	if err != nil {
		return err
	}
	s := &p.Next
	for _, name := range p.withdraw {
		d := s.Drains[name]
		d.Since = now
		s.Drains[name] = d
	}
	s.Memo = p.memo
	if stamp, ok := c.Stamp(p); ok {
		s.Stamp = stamp
	}
	if last := len(s.Provided) - 1; p.entries != nil && (last < 0 || !sameEntries(s.Provided[last].Entries, p.entries)) {
		running, unseen, err := c.Kubelets()
		if err != nil {
			return err
		}
		s.Provide(p.entries, now, running, unseen != "")
	}
	return c.Remember(*s)
}

// rememberEnded writes down which drains are over, and until when a credential that
// does not expire was returned.
func (p *Plan) rememberEnded(c Carrier) error {
	for _, name := range p.ended {
		if !p.Refused[name] {
			delete(p.Next.Drains, name)
		}
	}
	now, err := c.Now()
	if err != nil {
		return err
	}
	for _, name := range p.lasting {
		if _, ok := p.Next.Lasting[name]; ok {
			p.Next.Lasting[name] = now
		}
	}
	return c.Remember(p.Next)
}
