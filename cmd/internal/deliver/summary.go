package deliver

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A Summary counts what is wanted.
type Summary struct {
	Wanted, Delivered int
	// Failing are the registries whose last delivery failed, with the reason.
	Failing []Failure
}

// A Failure is why a registry's last delivery failed.
type Failure struct{ Registry, Reason string }

// Line returns the summary for people, on one line.
func (s Summary) Line() string {
	line := fmt.Sprintf("%d of %d registries have their credential", s.Delivered, s.Wanted)
	if len(s.Failing) > 0 {
		line += fmt.Sprintf("; %s: %s", s.Failing[0].Registry, s.Failing[0].Reason)
	}
	return line
}

func (d *Deliverer) lookAtAll(s *schedule) {
	for _, e := range s.entries {
		e.observe(d.Store)
	}
}

func (d *Deliverer) report(s *schedule) {
	if d.Changed == nil {
		return
	}
	var sum Summary
	for _, e := range s.entries {
		sum.Wanted++
		if e.value.Authorization != "" && !e.value.Ended(time.Now()) {
			sum.Delivered++
		}
		if e.fault != "" {
			sum.Failing = append(sum.Failing, Failure{e.want.Target.String(), e.fault})
		}
	}
	d.Changed(sum)
}

// Due returns the keys that [Deliverer.Once] would deliver now. It changes nothing.
func (d *Deliverer) Due(list []Want) map[string]bool {
	s := newSchedule(rand.Uint64())
	s.want(list, d.Store.Value, time.Now())
	s.begin(time.Now())
	return s.running
}
