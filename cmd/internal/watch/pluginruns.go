package watch

import (
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

// maxRegistries bounds how many registries have their own metric: with "*",
// pods choose the names.
const maxRegistries = 100

// maxCredentials bounds how many credentials have their own metric. Their names come
// from maps, never from pods.
const maxCredentials = 100

// manyCredentials stands for all further ones.
const manyCredentials = "other"

// A runKey is what a run is counted by. The credential is that of the run's outcome:
// the one that could not be fetched, or the first that was returned.
type runKey struct {
	outcome    audit.Outcome
	code       audit.Code
	credential string
}

// A useKey is what the credentials that runs needed are counted by.
type useKey struct{ credential, result string }

// The results of a use.
const (
	useCached  = "cached"
	useFetched = "fetched"
	useFailed  = "failed"
)

// pluginRuns are the metrics of the plugin's log, which is read when Prometheus
// scrapes. It is safe for use by several goroutines.
type pluginRuns struct {
	started time.Time
	// file returns the path of the log, "" if the map names no file.
	file func() string

	mu      sync.Mutex
	path    string
	log     *audit.Log
	runs    map[runKey]float64
	uses    map[useKey]float64
	names   map[string]bool // of credentials
	took    histogram
	success map[string]time.Time // by registry
}

func newPluginRuns(started time.Time, file func() string) *pluginRuns {
	return &pluginRuns{
		started: started, file: file, runs: map[runKey]float64{}, uses: map[useKey]float64{}, names: map[string]bool{},
		took: newHistogram(0.001, 4, 9), success: map[string]time.Time{},
	}
}

// expose reads the log and adds its metrics, none if there is no log. credentials are
// the names in the map.
func (p *pluginRuns) expose(e *exposition, credentials []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.read() {
		return
	}
	p.begin(credentials)
	e.family(counter, "mirrorcred_plugin_runs_total",
		"Runs of the credential plugin since this watcher started, by outcome, kind of reason and credential; from the plugin's log, if that is a file.",
		listed(p.runs, func(k runKey) []string {
			return []string{"outcome", string(k.outcome), "reason", string(k.code), "credential", k.credential}
		}))
	e.family(counter, "mirrorcred_plugin_credentials_total",
		"Credentials that the plugin's runs needed, by name and by result: cached (from the token cache), fetched, failed.",
		listed(p.uses, func(k useKey) []string { return []string{"credential", k.credential, "result", k.result} }))
	e.histogram("mirrorcred_plugin_run_duration_seconds", "How long the plugin's runs took.", p.took)
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
		p.count(e)
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
