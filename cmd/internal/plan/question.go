package plan

import (
	"path"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Question is about something on the node that a plan needs and that is too costly
// to find out each time. A plan is made as far as possible without the answers, and
// then again with them.
type Question struct {
	About subject
	Path  string // of a file on the node
	PID   int    // of a kubelet
}

// A subject is what a question is about.
type subject int

const (
	AboutProgram   subject = iota // whether a provider's program can be run
	AboutLink                     // whether one is a link to mirrorcred's plugin
	AboutIdentity                 // whether an azure.json names an identity for mirrors
	aboutVersion                  // which version a kubelet has
	AboutPulls                    // which pulls a kubelet has in progress
	AboutStillness                // whether another program is writing the kubelet's files
)

// Foreseen returns the questions that nearly every plan of a map asks. If they are
// answered beforehand, the plan need not be made twice.
func Foreseen(m *mirror.Map) []Question { return []Question{aboutProgram(m, pluginOf(m))} }

func aboutProgram(m *mirror.Map, p plugin) Question {
	return Question{About: AboutProgram, Path: path.Join(m.Kubelet.BinDir, p.Name())}
}

// An Answer is what was found out.
type Answer struct {
	Err  error
	Text string        // a version, or why a file is not still
	Left time.Duration // after which it may be
	Pulls
}

// ask returns the answer to a question, or the question if it has no answer yet.
func (o *Observed) ask(q Question) (Answer, []Question) {
	a, ok := o.Answers[q]
	if !ok {
		return a, []Question{q}
	}
	return a, nil
}
