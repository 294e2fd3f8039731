package node

import (
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// mostRounds is how often a plan may ask: an answer may lead to further
// questions.
const mostRounds = 10

// answered makes a plan until it asks for nothing more.
func (n *Node) answered(m *mirror.Map, o *plan.Observed, now plan.Moments, todo func() ([]plan.Question, error)) error {
	o.Answers = map[plan.Question]plan.Answer{}
	questions := plan.Foreseen(m)
	for range mostRounds {
		for _, q := range questions {
			if _, known := o.Answers[q]; !known {
				o.Answers[q] = n.answer(q, m, o, now.Moment)
			}
		}
		var err error
		if questions, err = todo(); len(questions) == 0 {
			return err
		}
	}
	return fmt.Errorf("the plan for %s never stops asking about the node, which is a bug in mirrorcred", n.Map)
}

// answer finds out what a plan asks for.
func (n *Node) answer(q plan.Question, m *mirror.Map, o *plan.Observed, now plan.Moment) plan.Answer {
	switch q.About {
	case plan.AboutProgram:
		return plan.Answer{Err: n.checkProgram(q.Path, o.Running)}
	case plan.AboutLink:
		return plan.Answer{Err: n.checkLink(q.Path, m.Kubelet.BinDir)}
	case plan.AboutIdentity:
		return plan.Answer{Err: n.checkIdentity(q.Path)}
	case plan.AboutStillness:
		why, left := n.settles(q.Path, o.Kubelet.Version, plan.HashFiles(o.Kubelet.Files), o.Kubelet.IsBroken(), now)
		return plan.Answer{Text: why, Left: left}
	}
	for _, k := range o.Running {
		if k.PID != q.PID {
			continue
		}
		if q.About == plan.AboutPulls {
			return plan.Answer{Pulls: n.pulls(k, m.Kubelet.Version)}
		}
		version, err := n.host.version(k)
		return plan.Answer{Text: version, Err: err}
	}
	return plan.Answer{Err: fmt.Errorf("process %d is not a running kubelet", q.PID)}
}
