package watch

import (
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

// maxRegistries bounds how many registries have their own metric: with "*",
// pods choose the names.
const maxRegistries = 100

// pluginRuns are the metrics of the plugin's log, which is read when Prometheus
// scrapes. It is safe for use by several goroutines.
type pluginRuns struct {
	started time.Time
	// file returns the path of the log, "" if the map names no file.
	file func() string

	mu      sync.Mutex
	path    string
	log     *audit.Log
	runs    map[audit.Outcome]int
	success map[string]time.Time // by registry
}

func newPluginRuns(started time.Time, file func() string) *pluginRuns {
	return &pluginRuns{started: started, file: file, runs: map[audit.Outcome]int{}, success: map[string]time.Time{}}
}

// expose reads the log and adds its metrics, none if there is no log.
func (p *pluginRuns) expose(e *exposition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.read() {
		return
	}
	runs := map[string]float64{}
	for _, outcome := range []audit.Outcome{audit.Answered, audit.Empty, audit.Refused, audit.Failed} {
		runs[string(outcome)] = float64(p.runs[outcome])
	}
	e.labelled(counter, "mirrorcred_plugin_runs_total",
		"Runs of the credential plugin since this watcher started, by outcome; from the plugin's log, if that is a file.", "outcome", runs)
	success := map[string]float64{}
	for registry, at := range p.success {
		success[registry] = seconds(at)
	}
	e.labelled(gauge, "mirrorcred_plugin_last_success_timestamp_seconds",
		"When the credential plugin last returned a credential for a registry; from the plugin's log, if that is a file.", "registry", success)
}

// read reads the new lines of the log, and reports whether there is a log. An
// unreadable log has no new lines; "mirrorcred events" says why.
func (p *pluginRuns) read() bool {
	path := p.file()
	if path != p.path && p.log != nil {
		p.log.Close()
		p.log = nil
	}
	if p.path = path; path == "" {
		return false
	}
	if p.log == nil {
		p.log = audit.Open(nil, path)
	}
	_ = p.log.Next(p.add)
	return true
}

// add counts a run. Runs from before the watcher started are not counted: a
// counter that starts with them would look like a burst.
func (p *pluginRuns) add(line []byte) error {
	e, ok := audit.Decode(line)
	if !ok {
		return nil
	}
	if !e.Time.Before(p.started) {
		p.runs[e.Outcome]++
	}
	if e.Outcome != audit.Answered {
		return nil
	}
	for _, t := range e.Targets {
		last, known := p.success[t.Host]
		if t.Failure == "" && e.Time.After(last) && (known || len(p.success) < maxRegistries) {
			p.success[t.Host] = e.Time.Time
		}
	}
	return nil
}
