package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

const (
	// settle is how long a credential may be in transit, after the plugin
	// returned it, before the kubelet has a record of the pull.
	settle = time.Minute
	// acrLife is how long an ACR refresh token lives, with a margin
	// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
	acrLife = 3*time.Hour + 10*time.Minute
)

// A drainStep is what happens to the drain of a namespace with a plan.
type drainStep struct {
	name string
	Drain
	begins bool
	// isOver says that no pull that was given the credential can begin any more,
	// and ends that the plan changes the namespace, so that the drain can be
	// forgotten.
	isOver, ends bool
}

// draining returns the namespaces that stay because of their drains.
func draining(steps []drainStep) map[string]bool {
	list := map[string]bool{}
	for _, step := range steps {
		list[step.name] = true
	}
	for _, step := range steps {
		if step.ends {
			delete(list, step.name)
		}
	}
	return list
}

// drain returns the share of a namespace that must stay as it is while a pull with a
// credential of the route r may still begin; meanwhile the plugin returns nothing for
// it. own is its present route. drain also reports whether that is over.
func drain(in *situation, name string, own, r route.Route, why string, say func(fault.Fault) fault.Fault) (s share, isOver bool) {
	source := hosts.HostOf(name)
	known, begun := in.seen.State.Drains[name]
	step := drainStep{name: name, Drain: known}
	w := pendingFor("pulls may still use its credential", "")
	if begun && own.Withdrawn != "" {
		w, s.questions = drainPending(in, known, name, r)
	} else {
		step.Drain, step.begins = Drain{Source: source, Since: in.now.Moment}, true
	}
	if w.none() {
		step.isOver, step.ends = true, true
		s.drains = []drainStep{step}
		return s, true
	}
	r.Source, r.Direct = source, nil
	r.Withdrawn = why + " and is being drained; pulls of it fail until \"mirrorcred apply\" has ended that"
	s.drains = []drainStep{step}
	s.draining, s.needsRestart = []Pending{NewPending(source, say(w.why))}, w.restart
	return s.and(in.routes.write(StageRoutes, name, true, r)), false
}

// plainly returns the reason of a drain unchanged.
func plainly(why fault.Fault) fault.Fault { return why }

// wasDrained reports whether a namespace was drained for a change that a run has made
// since and not recorded, because it did not finish.
func wasDrained(in *situation, name string, own route.Route) (bool, []Question) {
	d, begun := in.seen.State.Drains[name]
	if !begun || own.Withdrawn == "" {
		return false, nil
	}
	w, open := drainPending(in, d, name, own)
	return w.none(), open
}

// drainPending returns why a removed mirror must stay for now, nothing if no pull with
// its credential can begin any more.
func drainPending(in *situation, d Drain, name string, r route.Route) (pendingReason, []Question) {
	if w := in.kubelets.keepsAnswering(d.Source, d.Source); !w.none() {
		return w, nil
	}
	if d.Since.Boot != in.now.Boot {
		return pendingReason{}, nil
	}
	var old []kubelet // from before the withdrawal
	for _, k := range in.kubelets.list {
		if !d.Since.Before(k.Started) {
			old = append(old, k)
		}
	}
	waited := in.now.Since - d.Since.Since
	switch {
	case len(old) == 0 && in.kubelets.unseen.None():
		return pendingReason{}, nil
	case waited < settle:
		until := in.now.Wall.Add(settle - waited) // a point in time: the reason may be read later
		return pendingFor("pulls may still use its credential until "+until.Local().Format(time.TimeOnly), ""), nil
	case waited > acrLife && expire(in, name, r):
		return pendingReason{}, nil
	case !in.kubelets.unseen.None():
		return pendingReason{why: in.kubelets.unseen}, nil
	}
	return pullsInProgress(in.seen, old, d.Source)
}

// pullsInProgress returns which pull a kubelet may have in progress with a credential
// of a source, nothing if none has one.
func pullsInProgress(o *Observed, kubelets []kubelet, source string) (pendingReason, []Question) {
	var questions []Question
	for _, k := range kubelets {
		records, open := o.ask(Question{About: AboutPulls, PID: k.PID})
		questions = append(questions, open...)
		if records.Unknown != "" {
			return pendingFor(fmt.Sprintf("the kubelet (process %d) may not keep records of its pulls (%s), so a pull may still use the credential", k.PID, records.Unknown), "restart the kubelet"), questions
		}
		if count := records.Of(source); count > 0 {
			pulls := "pulls"
			if count == 1 {
				pulls = "pull"
			}
			return pendingFor(fmt.Sprintf("the kubelet (process %d) has %d %s in progress that may use its credential", k.PID, count, pulls), ""), questions
		}
	}
	return pendingReason{}, questions
}

// expire reports whether all credentials of a route, and those that it has forgotten,
// expire by themselves within a known time, as ACR's do.
func expire(in *situation, name string, r route.Route) bool {
	if _, isLasting := in.lasting[name]; isLasting || len(r.Generations) == 0 {
		return false
	}
	return !slices.ContainsFunc(r.Generations, func(g route.Generation) bool { return !g.Expires() })
}
