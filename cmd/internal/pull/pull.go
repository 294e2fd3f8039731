// Package pull pulls images onto a node as the kubelet would: it runs the
// credential providers, and hands what they answer to containerd through the CRI.
// It is for scripts that need an image before the kubelet does, and for the pause
// image, which containerd pulls without a credential.
//
// It refuses a pull that would not go where the map sends it, and retries one that may
// work later. Package explain says where a pull goes, package provider runs the
// providers, and package containerd pulls. Start at [Puller.Pull].
package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Store pulls images, and says which it has; [containerd.Images] is one.
type Store interface {
	Pull(ctx context.Context, image string, c credential.Credential) error
	Find(ctx context.Context, image string) (containerd.Image, bool, error)
}

// A Puller pulls images.
type Puller struct {
	Store  Store
	Map    *mirror.Map
	Place  explain.Place
	Runner provider.Runner
	// Any allows images of sources that the map does not name.
	Any bool
	// Retrying is called before each retry, with the error and the time until then;
	// nil means that it is not called.
	Retrying func(image mirror.Image, err error, in time.Duration)

	// Tests replace these; nil is the real one.
	sleep  func(ctx context.Context, d time.Duration) error
	jitter func() float64
}

// A Result is the outcome for one image.
type Result struct {
	Image    string `json:"image"`
	Pulled   bool   `json:"pulled"`
	Digest   string `json:"digest,omitempty"`
	Size     uint64 `json:"bytes,omitempty"`
	Pinned   bool   `json:"pinned"`
	Present  bool   `json:"present,omitempty"` // it was there before
	Attempts int    `json:"attempts"`
	Took     int64  `json:"ms"`
	Error    string `json:"error,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// A fault is why a pull failed.
type fault struct {
	text, remedy string
	again        bool          // it may work later
	after        time.Duration // what the other side asked to wait, 0 if it did not
}

func (f *fault) Error() string { return f.text }

// Pull pulls an image. It tries again until ctx ends, unless another try cannot
// help.
func (p *Puller) Pull(ctx context.Context, image mirror.Image) Result {
	start := time.Now()
	r := Result{Image: image.String()}
	f := p.retry(ctx, image, &r)
	if f == nil {
		var found containerd.Image
		var err error
		if found, r.Pulled, err = p.Store.Find(ctx, image.String()); err != nil || !r.Pulled {
			f = &fault{text: "containerd pulled it and does not have it", remedy: "see: journalctl -u containerd"}
		}
		r.Digest, r.Size, r.Pinned = found.Digest, found.Size, found.Pinned
	}
	if f != nil {
		r.Error, r.Remedy = f.text, f.remedy
	}
	r.Took = time.Since(start).Milliseconds()
	return r
}

// retry makes attempts, with pauses that grow, until one works or cannot.
func (p *Puller) retry(ctx context.Context, image mirror.Image, r *Result) *fault {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		r.Attempts++
		f := p.attempt(ctx, image)
		if f == nil || !f.again {
			return f
		}
		if ctx.Err() != nil {
			return f.gaveUp(ctx)
		}
		wait := max(f.after, p.spread(pause))
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			if f.after > 0 {
				f.text += fmt.Sprintf(" (asked to wait %s, which is longer than --timeout allows)", f.after)
			}
			return f.gaveUp(ctx)
		}
		if p.Retrying != nil {
			p.Retrying(image, f, wait)
		}
		if err := p.wait(ctx, wait); err != nil {
			return f.gaveUp(ctx)
		}
	}
}

// attempt tries once: it reads what is in force, runs the providers, and pulls with each
// credential in turn, as the kubelet does.
func (p *Puller) attempt(ctx context.Context, image mirror.Image) *fault {
	seen := explain.Observe(p.Place, image)
	if f := p.refused(image, explain.Explain(seen)); f != nil {
		return f
	}
	var answers []map[string]credential.Credential
	var failed []string
	for _, a := range p.Runner.Request(ctx, seen.Providers, image) {
		answers = append(answers, a.Auth)
		if a.Err == nil {
			continue
		}
		text := fmt.Sprintf("%s returned no credential: %v", a.Provider, a.Err)
		if p.isOurs(seen, a.Provider) && !errors.Is(a.Err, provider.ErrNeedsPod) {
			// Its refusals were handled above, so this may be temporary.
			return &fault{text: text, remedy: "mirrorcred check", again: !errors.Is(a.Err, provider.ErrUnusable) && !denied.MatchString(text), after: retryAfter(text)}
		}
		failed = append(failed, text)
	}
	list := credential.Attempts(answers, image.Name())
	if len(list) == 0 {
		list = []credential.Credential{{}}
	}
	var f *fault
	for _, c := range list {
		if f = p.judge(ctx, image, p.Store.Pull(ctx, image.String(), c)); f == nil || f.again {
			break
		}
	}
	if f != nil && len(failed) > 0 {
		f.text += "; " + strings.Join(failed, "; ")
	}
	return f
}

func (p *Puller) isOurs(seen explain.Observed, name string) bool {
	for _, entry := range seen.Providers {
		if entry.Name == name {
			return entry.Routes() != ""
		}
	}
	return false
}

// refused returns a fault if a pull would not go where the map sends it, else nil.
func (p *Puller) refused(image mirror.Image, e explain.Explanation) *fault {
	const apply = "mirrorcred apply"
	m, mapped := p.Map.Resolve(image)
	if !mapped {
		if p.Any {
			return nil
		}
		return &fault{text: fmt.Sprintf("refused: the map does not name %s, so the image would come from there", image.Host()),
			remedy: fmt.Sprintf("add a [[mirror]] with source = %q to the map, or pull with --any", image.Host())}
	}
	secret := false
	for _, o := range e.Plugin.Offers {
		secret = secret || o.Credential != ""
	}
	ours := false
	for _, one := range e.Kubelet.Matches {
		ours = ours || one.Ours
	}
	switch {
	case e.Containerd.Fault != "":
		return refusal(e.Containerd.Fault, apply)
	case e.Plugin.Fault != "":
		return refusal(e.Plugin.Fault, apply)
	case secret && e.Kubelet.Fault != "":
		return refusal(e.Kubelet.Fault, apply)
	case secret && !ours:
		return refusal(fmt.Sprintf("no provider of mirrorcred in %s matches the image", e.Kubelet.Config), apply)
	}
	for _, call := range e.Calls {
		if call.Source && !servesItself(m) {
			return refusal(fmt.Sprintf("its hosts.toml is not in place, so containerd would ask %s itself", image.Host()), apply)
		}
	}
	return nil
}

// refusal returns the fault of a refused pull. A remedy in the text itself replaces
// remedy.
func refusal(text, remedy string) *fault {
	what, own, ok := strings.Cut(text, "; ")
	if ok {
		remedy = strings.TrimPrefix(own, "run ")
	}
	return &fault{text: "refused: " + what, remedy: strings.Trim(remedy, `"`)}
}

// servesItself reports whether the map lets the source serve its images.
func servesItself(m mirror.Mirror) bool {
	for _, t := range m.Targets {
		if t.Self() {
			return true
		}
	}
	return false
}

// gaveUp returns the fault of a pull that ran out of time, or was stopped.
func (f *fault) gaveUp(ctx context.Context) *fault {
	g := *f
	why := "gave up"
	if errors.Is(ctx.Err(), context.Canceled) {
		why = "stopped"
	}
	g.text = why + ": " + g.text
	g.remedy = cmp.Or(g.remedy, "mirrorcred check")
	return &g
}
