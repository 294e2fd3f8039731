package watch

import (
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

// begin starts each counter at 0: Prometheus sees no increase when a counter appears
// with 1.
func (p *pluginRuns) begin(credentials []string) {
	for _, outcome := range audit.Outcomes() {
		for _, code := range outcome.Codes() {
			p.runs[runKey{outcome, code, ""}] += 0
			for _, name := range credentials {
				if outcome == audit.Answered || outcome == audit.Failed {
					p.runs[runKey{outcome, code, p.name(name)}] += 0
				}
			}
		}
	}
	for _, name := range credentials {
		for _, result := range []string{useCached, useFetched, useFailed} {
			p.uses[useKey{p.name(name), result}] += 0
		}
	}
}

// count counts a run.
func (p *pluginRuns) count(e audit.Event) {
	outcome := e.Outcome
	if !slices.Contains(audit.Outcomes(), outcome) {
		outcome = audit.Failed // of a later version
	}
	p.runs[runKey{outcome, e.Counted(), p.credentialOf(e)}]++
	p.took.observe(time.Duration(e.Took).Seconds())
	for _, t := range e.Targets {
		p.uses[useKey{p.name(t.Credential), resultOf(t)}]++
	}
}

func resultOf(t audit.Target) string {
	switch {
	case t.Failure != "":
		return useFailed
	case t.Cached:
		return useCached
	}
	return useFetched
}

// credentialOf returns the credential that a run is counted under, "" if none was
// returned and none failed.
func (p *pluginRuns) credentialOf(e audit.Event) string {
	if e.Outcome != audit.Answered && e.Outcome != audit.Failed {
		return ""
	}
	for _, t := range e.Targets {
		if (t.Failure != "") == (e.Outcome == audit.Failed) {
			return p.name(t.Credential)
		}
	}
	return ""
}

// name returns the label for a credential.
func (p *pluginRuns) name(credential string) string {
	if credential == "" || p.names[credential] {
		return credential
	}
	if len(p.names) >= maxCredentials {
		return manyCredentials
	}
	p.names[credential] = true
	return credential
}

// listed returns counts as samples, in the order of their labels.
func listed[K comparable](counts map[K]float64, labels func(K) []string) []series {
	list := make([]series, 0, len(counts))
	for k, n := range counts {
		list = append(list, series{labels(k), n})
	}
	slices.SortFunc(list, func(a, b series) int { return slices.Compare(a.labels, b.labels) })
	return list
}
