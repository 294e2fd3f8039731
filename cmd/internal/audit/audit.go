// Package audit is the log of the plugin's runs: one line of JSON for each run,
// in a file that the plugin appends to and "mirrorcred events" reads, or in the
// journal or another socket.
//
// Logging never blocks and never fails a pull: a line that cannot be written is
// dropped. A line holds no secret, only names, times and errors, and the errors
// of this module hold none.
//
// Start at [Event]; at [ParseDestination] for writing and at [Open] for
// reading.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
)

// An Outcome is how a run ended.
type Outcome string

// The outcomes of a run.
const (
	Answered Outcome = "answered" // with a credential
	Empty    Outcome = "empty"    // without one: the image needs none from mirrorcred
	Refused  Outcome = "refused"  // no credential may be returned, or the node is misconfigured
	Failed   Outcome = "failed"   // a credential could not be fetched
)

// An Event is one run of the plugin.
type Event struct {
	Time Time `json:"time"` // of the run's end
	// Image is the image that the kubelet asked for, "" if the run failed earlier;
	// Source is its host.
	Image   string  `json:"image,omitempty"`
	Source  string  `json:"source,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Code is the kind of reason. Reason is the error of a run that returned
	// nothing, or what was left out of an answer.
	Code   Code   `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Targets are the registries that a credential was wanted for.
	Targets []Target `json:"targets,omitempty"`
	Took    Took     `json:"ms"`
}

// A Target is a registry that a credential was wanted for.
type Target struct {
	Host       string `json:"target"`
	Credential string `json:"credential,omitempty"` // its name in the map
	Identity   string `json:"identity,omitempty"`   // the kind of identity that gets it
	Cached     bool   `json:"cached"`               // from the token cache
	Steps      []Step `json:"steps,omitempty"`
	Failure    string `json:"failure,omitempty"`
	// Note says more of a pod's own logins: the pod, and the secrets that it names.
	Note string `json:"note,omitempty"`
	Took Took   `json:"ms"`
}

// A Step is one part of getting a credential.
type Step struct {
	Name string `json:"step"`
	Took Took   `json:"ms"`
}

// A Time is written as RFC 3339 in UTC, to the millisecond.
type Time struct{ time.Time }

// A Took is a time that something took. It is written in milliseconds.
type Took time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Took) UnmarshalJSON(data []byte) error {
	var ms float64
	err := json.Unmarshal(data, &ms)
	*d = Took(ms * float64(time.Millisecond))
	return err
}

// mostLine bounds a line, its end included, so that a reader finds the next
// one; the kernel appends each write in one piece.
const mostLine = 4095

// mostTargets and mostSteps are how many are listed; a mirror has one or two
// targets, and getting a credential has three steps.
const mostTargets, mostSteps = 16, 8

// Encode returns the event as one line of at most 4095 bytes. Longer events are
// cut: first the texts, then the list of targets.
func (e Event) Encode() ([]byte, error) {
	e.Targets = e.Targets[:min(mostTargets, len(e.Targets))]
	for _, most := range [...]int{1200, 300, 80} {
		if line := e.cut(most).line(); len(line) <= mostLine {
			return line, nil
		}
	}
	e.Targets = e.Targets[:min(3, len(e.Targets))]
	short := e.cut(80)
	for i := range short.Targets {
		short.Targets[i].Steps = nil
	}
	line := short.line()
	if len(line) > mostLine {
		return nil, errors.New("the event does not fit into a line")
	}
	return line, nil
}

// cut returns e with texts of at most that many bytes, each on one line.
func (e Event) cut(most int) Event {
	e.Image, e.Source, e.Reason = clip(e.Image, most), clip(e.Source, most), clip(e.Reason, most)
	e.Outcome, e.Code = Outcome(clip(string(e.Outcome), most)), Code(clip(string(e.Code), most))
	targets := e.Targets
	e.Targets = nil
	for _, t := range targets {
		t.Host, t.Credential, t.Identity, t.Failure, t.Note = clip(t.Host, most), clip(t.Credential, most), clip(t.Identity, most), clip(t.Failure, most), clip(t.Note, most)
		steps := t.Steps[:min(mostSteps, len(t.Steps))]
		t.Steps = nil
		for _, step := range steps {
			t.Steps = append(t.Steps, Step{clip(step.Name, most), step.Took})
		}
		e.Targets = append(e.Targets, t)
	}
	return e
}

func clip(text string, most int) string {
	if len(text) > 4*most {
		// No character takes more than four bytes, so the rest of a huge text need
		// not be read.
		text = text[:4*most]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Decode parses a line; false means that it is not an event. After a full disk,
// half a line may come before a whole one. Fields of a later version are
// ignored.
func Decode(line []byte) (Event, bool) {
	var e Event
	if json.Unmarshal(line, &e) == nil && !e.Time.IsZero() {
		return e, true
	}
	if i := bytes.LastIndex(line, []byte(`{"time":`)); i > 0 {
		return Decode(line[i:])
	}
	return Event{}, false
}
