package watch

import (
	"log/slog"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A journal logs what an operator asks for next morning, once.
type journal struct {
	log    *slog.Logger
	fault  string    // that was said last, "" where there is none
	fights bool      // was said
	said   node.Plan // whose waits and remainders were said
}

// write logs what is new in a report. What a plan leaves is said when the plan
// was carried out.
func (j *journal) write(r Report, fought []string) {
	if r.Fights && !j.fights {
		j.log.Warn("somebody else keeps changing the files that mirrorcred writes; slowing down", "files", fought)
	}
	j.fights = r.Fights
	if r.Err != nil {
		if fault := r.Err.Error(); fault != j.fault {
			j.fault = fault
			j.log.Error("map not applied", "error", r.Err)
		}
		return
	}
	if r.Fights {
		return
	}
	if j.fault != "" {
		j.fault = ""
		j.log.Info("map is applied again")
	}
	for _, c := range r.Plan.Changes {
		j.log.Info("changed", "path", c.Path, "stage", c.Stage)
	}
	j.waits("pending", r.Plan.Pending, j.said.Pending)
	j.waits("draining", r.Plan.Draining, j.said.Draining)
	for _, left := range r.Plan.Left {
		if !slices.Contains(j.said.Left, left) {
			j.log.Warn("left alone", "path", left.Path, "reason", left.Reason)
		}
	}
	j.said = node.Plan{Pending: r.Plan.Pending, Draining: r.Plan.Draining, Left: r.Plan.Left}
}

// waits logs the sources that were not in the list before.
func (j *journal) waits(what string, now, before []node.Wait) {
	known := make(map[string]bool, len(before))
	for _, wait := range before {
		known[wait.Source] = true
	}
	for _, wait := range now {
		if !known[wait.Source] {
			j.log.Info(what, "source", wait.Source, "reason", wait.Reason)
		}
	}
}
