package watch

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A journal logs what happens to the node: each thing once when it begins and
// once when it ends, with what it was and how long it lasted.
type journal struct {
	log *slog.Logger
	// last is the plan of the last report without an error, and known says that
	// the report before this one was one.
	last   plan.Plan
	known  bool
	inSync bool
	fault  string // why the map is not applied, "" if it is
	files  []string
	// since is when each lasting thing began, by its kind and name. What the first
	// report finds in progress has no known beginning.
	since map[string]time.Time
	first bool
}

func newJournal(log *slog.Logger) journal {
	return journal{log: log, since: map[string]time.Time{}, first: true}
}

// write logs what is new in a report. reverted are the files that another program
// keeps reverting.
func (j *journal) write(r Report, reverted []string) {
	j.backoff(r.BackingOff, reverted)
	if r.Err != nil {
		j.error(r.Err)
		return
	}
	if r.BackingOff {
		return // its plan was not carried out
	}
	if j.fault != "" {
		j.end("fault", "", "map applied again", "fault", j.fault)
		j.fault = ""
	}
	told := j.changes(r.Plan)
	j.pending(r.Plan, told)
	j.problems(r.Plan)
	if now := r.inSync(); now && (!j.inSync || len(r.Plan.Changes) > 0) {
		j.log.Info("in sync", "sources", r.Plan.Sources)
	}
	j.inSync, j.known, j.first = r.inSync(), true, false
	j.last = r.Plan
	j.last.Changes = nil // they hold whole files
}

// interrupted logs a pass that ended because the watcher is ending.
func (j *journal) interrupted(r Report) {
	var part *node.InterruptedError
	if errors.As(r.Err, &part) && part.Made > 0 {
		j.log.Info("interrupted between two changes; the next start goes on", "made", part.Made, "of", part.Changes)
	}
}

// backoff logs that another program keeps reverting files, and that it stopped: a
// watcher that backs off tries again from time to time.
func (j *journal) backoff(isOn bool, files []string) {
	switch {
	case isOn && j.files == nil:
		j.files = append([]string{}, files...)
		j.begin("backoff", "")
		j.log.Warn("another program keeps reverting files; backing off", "files", files)
	case j.files != nil && len(files) == 0:
		j.end("backoff", "", "files are no longer reverted", "files", j.files)
		j.files = nil
	}
}

func (j *journal) error(err error) {
	j.known, j.inSync = false, false
	if fault := err.Error(); fault != j.fault {
		if j.fault != "" {
			j.end("fault", "", "fault over", "fault", j.fault)
		}
		j.begin("fault", "")
		j.fault = fault
		j.log.Error("map not applied", "reason", node.PartsOf(err), "error", err)
	}
}

// changes logs what was changed, and returns the sources that it logged.
func (j *journal) changes(todo plan.Plan) map[string]bool {
	told := map[string]bool{}
	for _, c := range todo.Changes {
		source := c.Source()
		switch c.Stage {
		case plan.StageHosts, plan.StageRemove:
			told[source] = true
			j.mirror(c, source, todo)
		case plan.StageCarry:
			j.log.Info("mirror copied to the new hosts_dir", "source", source, "path", c.Path)
		case plan.StageKubelet:
			if j.known && j.inSync && todo.Generation == j.last.Generation {
				j.restored(c)
			} else {
				j.log.Info("kubelet configuration changed", "path", c.Path)
			}
		default: // routes follow from the rest, unless they were deleted
			if len(c.Old) == 0 && c.New != nil && j.isDrift(source, todo) {
				j.restored(c)
			}
		}
	}
	return told
}

// mirror logs a change of a mirror's hosts.toml.
func (j *journal) mirror(c plan.Change, source string, todo plan.Plan) {
	from, to := c.From(), c.To()
	lasted := append(j.after("after", "pending", source), j.after("drained", "draining", source)...)
	log := j.log.With("source", source)
	switch {
	case c.New == nil:
		log.Info("mirror removed", append([]any{"target", from}, lasted...)...)
	case len(c.Old) == 0 && j.isDrift(source, todo):
		j.restored(c)
	case len(c.Old) == 0:
		log.Info("mirror activated", append([]any{"target", to}, lasted...)...)
	case from != to:
		log.Info("mirror retargeted", append([]any{"from", from, "to", to}, lasted...)...)
	default:
		log.Info("mirror settings changed", "target", to)
	}
}

// restored logs a file that another program changed.
func (j *journal) restored(c plan.Change) {
	cause := "edited"
	switch {
	case c.Old == nil:
		cause = "deleted"
	case len(c.Old) == 0:
		cause = "emptied"
	}
	j.log.Info("file restored", "path", c.Path, "cause", cause)
}

// isDrift reports whether a source was already active with this map, so that
// another program removed its missing file.
func (j *journal) isDrift(source string, todo plan.Plan) bool {
	is := func(w plan.Pending) bool { return w.Source == source }
	return j.known && todo.Generation == j.last.Generation && !slices.ContainsFunc(j.last.Pending, is) &&
		!slices.ContainsFunc(j.last.Draining, is) && !slices.ContainsFunc(j.last.Held, is) && !slices.ContainsFunc(j.last.Faults, is)
}

// pending logs the sources that wait, and those that no longer do unless their
// change was logged.
func (j *journal) pending(todo plan.Plan, told map[string]bool) {
	key := func(w plan.Pending) string { return w.Source }
	for _, state := range []struct {
		name, begins, ends string
		before, now        []plan.Pending
	}{
		{"held", "change held until the map is stable", "change no longer held", j.last.Held, todo.Held},
		{"draining", "source draining", "source no longer draining", j.last.Draining, todo.Draining},
		{"pending", "source pending", "source no longer pending", j.last.Pending, todo.Pending},
	} {
		follow(state.before, state.now, key, func(w plan.Pending) {
			j.begin(state.name, w.Source)
			attrs := []any{"source", w.Source}
			if w.Reason != "" {
				attrs = append(attrs, "reason", w.Reason)
			}
			j.log.Info(state.begins, attrs...)
		}, func(w plan.Pending) {
			if told[w.Source] && state.name != "held" {
				delete(j.since, state.name+" "+w.Source)
				return
			}
			j.end(state.name, w.Source, state.ends, "source", w.Source)
		})
	}
	switch {
	case todo.NeedsRestart && !j.last.NeedsRestart:
		j.begin("restart", "")
		j.log.Info("kubelet restart required")
	case !todo.NeedsRestart && j.last.NeedsRestart:
		j.end("restart", "", "kubelet restart no longer required")
	}
}

// problems logs conflicts, faults of single sources and warnings.
func (j *journal) problems(todo plan.Plan) {
	follow(j.last.Conflicts, todo.Conflicts, func(l plan.Conflict) string { return l.Path + l.Reason }, func(l plan.Conflict) {
		j.begin("conflict", l.Path)
		j.log.Warn("conflict", "path", l.Path, "reason", l.Reason)
	}, func(l plan.Conflict) {
		j.end("conflict", l.Path, "conflict resolved", "path", l.Path)
	})
	follow(j.last.Faults, todo.Faults, func(w plan.Pending) string { return w.Source + w.Reason }, func(w plan.Pending) {
		j.begin("failed", w.Source)
		j.log.Error("source not applied", "source", w.Source, "reason", w.Reason)
	}, func(w plan.Pending) {
		j.end("failed", w.Source, "source applied again", "source", w.Source, "fault", w.Reason)
	})
	follow(j.last.Warnings, todo.Warnings, doctor.Finding.String, func(f doctor.Finding) {
		j.begin("warning", f.String())
		j.log.Warn("warning", "warning", f.Name, "where", f.Where, "reason", f.Text, "fix", f.Repair)
	}, func(f doctor.Finding) {
		j.end("warning", f.String(), "warning resolved", "warning", f.Name, "where", f.Where)
	})
	if todo.Loss == j.last.Loss {
		return
	}
	if j.last.Loss != "" {
		j.end("loss", "", "containerd will read the mirrors after its next start", "fault", j.last.Loss)
	}
	if todo.Loss != "" {
		j.begin("loss", "")
		j.log.Warn("containerd will not read the mirrors after its next start", "reason", todo.Loss)
	}
}

// follow calls begin for what is new in a list and end for what is no longer in
// it, in their order.
func follow[T any](before, now []T, key func(T) string, begin, end func(T)) {
	keys := func(list []T) map[string]bool {
		set := make(map[string]bool, len(list))
		for _, one := range list {
			set[key(one)] = true
		}
		return set
	}
	was, is := keys(before), keys(now)
	for _, one := range before {
		if !is[key(one)] {
			end(one)
		}
	}
	for _, one := range now {
		if !was[key(one)] {
			begin(one)
		}
	}
}

// begin notes that something lasts from now on.
func (j *journal) begin(what, name string) {
	if !j.first {
		j.since[what+" "+name] = time.Now()
	}
}

// end logs that something is over.
func (j *journal) end(what, name, message string, attrs ...any) {
	j.log.Info(message, append(attrs, j.after("after", what, name)...)...)
	delete(j.since, what+" "+name)
}

// after returns how long something has lasted as an attribute of that name, if
// its beginning was seen.
func (j *journal) after(attr, what, name string) []any {
	since, ok := j.since[what+" "+name]
	if !ok {
		return nil
	}
	return []any{attr, episode.Lasted(since)}
}
