package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/pullsecret"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// auditLimit is how long the line of the audit log may take.
const auditLimit = 500 * time.Millisecond

// A journal collects what a run will log when it is over.
type journal struct {
	answered bool       // with a credential
	partial  bool       // but one is missing
	code     audit.Code // of the error, if there is one

	mu      sync.Mutex
	targets []audit.Target
}

// ask gets the credentials from a source, and records the outcome.
func (n *node) ask(ctx context.Context, c mirror.Credential, source credential.Source, query credential.Query) ([]credential.Credential, error) {
	t := audit.Target{Host: query.Registry.String(), Credential: c.Name, Identity: string(c.Kind)}
	if source, ok := source.(*azure.Source); ok {
		t.Identity = source.Identity(query)
	}
	started := time.Now()
	ctx = azure.WithTrace(ctx, func(step string, took time.Duration) {
		t.Steps = append(t.Steps, audit.Step{Name: step, Took: audit.Took(took)})
	})
	var got []credential.Credential
	var err error
	if several, ok := source.(credential.Lister); ok {
		n.settleIn()
		got, err = several.Credentials(pullsecret.WithNote(ctx, func(text string) { t.Note = text }), query)
	} else {
		got = make([]credential.Credential, 1)
		got[0], t.Cached, err = n.cached(ctx, c, source, query)
	}
	t.Took = audit.Took(time.Since(started))
	if err != nil {
		t.Failure = err.Error()
	}
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	n.journal.targets = append(n.journal.targets, t)
	if err != nil {
		return nil, err
	}
	return got, nil
}

// write adds the run to the audit log, if it can. err is the error of the run.
func (n *node) write(ctx context.Context, o options, started time.Time, err error) {
	now := time.Now()
	event := audit.Event{
		Time: audit.Time{Time: now}, Outcome: n.outcome(ctx, err), Code: n.journal.code,
		Targets: n.journal.targets, Took: audit.Took(now.Sub(started)),
	}
	if n.request != nil {
		event.Image = n.request.Image
		if image, err := mirror.ParseImage(event.Image); err == nil {
			event.Source = image.Host()
		}
	}
	if reason := oneLine(append([]error{err}, n.notes...)...); err != nil {
		event.Reason = err.Error() // it includes the notes
	} else if reason != nil {
		event.Reason = reason.Error()
	}
	o.auditLog.Append(n.root, event) // a failure to log has no one to report to
}

func (n *node) outcome(ctx context.Context, err error) audit.Outcome {
	switch {
	case err == nil && n.journal.answered:
		return audit.Answered
	case err == nil:
		return audit.Empty
	case ctx.Err() != nil:
		return audit.Failed
	}
	for _, t := range n.journal.targets {
		if t.Failure == "" {
			// There was a credential, but it must not be returned.
			return audit.Refused
		}
	}
	if len(n.journal.targets) > 0 {
		return audit.Failed
	}
	return audit.Refused
}
