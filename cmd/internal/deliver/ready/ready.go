// Package ready asks the first targets of mirrors whether they are up, for mirrors that
// the map turns on only then (the key "ready").
//
// What has answered it leaves in a directory below /run, which a reboot empties. It
// decides nothing else: package plan turns the mirrors on, and does so without an answer
// once their time is over. It sends no credential and no secret header. Start at [Run].
package ready

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	neturl "net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Want is a mirror that waits for its first target.
type Want struct {
	Key    string // of [mirror.Mirror.ReadyKey]
	Source string
	Target string
	// Endpoint is the first target as containerd asks it, without secret headers.
	Endpoint hosts.Endpoint
}

// Wanted returns those of a map's mirrors that wait for their first target.
func Wanted(mirrors []mirror.Mirror) []Want {
	var list []Want
	for _, one := range mirrors {
		if one.Ready > 0 {
			t := one.Targets[0]
			list = append(list, Want{one.ReadyKey(), one.Source.String(), t.String(), endpoint(t)})
		}
	}
	return list
}

func endpoint(t mirror.Target) hosts.Endpoint {
	e := client.Endpoint(t)
	for _, h := range t.Settings.Header {
		if !h.Secret() {
			e.Header[h.Name] = h.Values
		}
	}
	return e
}

// Options say how to ask. A zero field means its default.
type Options struct {
	// Root is the directory that all paths are below; "" is the machine itself.
	Root string
	// Proxy says which proxy containerd uses; nil means none.
	Proxy func(*http.Request) (*neturl.URL, error)
	// Limit is how long one request may take; 0 means 5 s.
	Limit time.Duration
	// Log is told what answers; nil means nothing is logged.
	Log *slog.Logger
}

// request asks a registry whether it is up. It is if it answers as a registry does: it lets
// anybody in, or wants a login, or refuses this caller.
func request(ctx context.Context, e hosts.Endpoint, o Options) error {
	c, err := client.New(client.Files{Root: o.Root}, e, o.Proxy)
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	limit := cmp.Or(o.Limit, 5*time.Second)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, client.API(e), nil)
	if err != nil {
		return err
	}
	for name, values := range e.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	answer, err := c.Do(r)
	if err != nil {
		return bare(ctx, err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // only the status counts
	switch answer.StatusCode {
	case http.StatusOK:
		if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			return errors.New("it answers with a web page, as no registry does")
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil
	}
	return fmt.Errorf("it answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
}

// bare returns an error without the URL that net/http puts in front.
func bare(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	var u *neturl.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// atOnce is how many registries are asked at the same time.
const atOnce = 8

// A round is one request to each registry that has not answered.
type round struct {
	Options
	mu      sync.Mutex
	reasons map[string]string // why a mirror's target does not answer, by the mirror's key
}

// Once asks each registry once, leaves the answers in the directory, and returns the
// mirrors whose target did not answer.
func Once(ctx context.Context, wants []Want, o Options) []Want {
	r := round{Options: o, reasons: map[string]string{}}
	return r.request(ctx, wants)
}

func (r *round) request(ctx context.Context, wants []Want) (left []Want) {
	o := r.Options
	same := map[string][]Want{} // one request is enough for all mirrors of a registry
	for _, w := range wants {
		if !o.has(w.Key) {
			e := w.Endpoint
			e.Path = ""
			key := fmt.Sprint(client.API(w.Endpoint), e)
			same[key] = append(same[key], w)
		}
	}
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, list := range same {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := request(ctx, list[0].Endpoint, o)
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, w := range list {
				if !r.take(ctx, w, err, o) {
					left = append(left, w)
				}
			}
		})
	}
	all.Wait()
	return left
}

// take notes the answer for one mirror, and reports whether it is ready.
func (r *round) take(ctx context.Context, w Want, err error, o Options) bool {
	if err == nil {
		if err = o.leave(w); err == nil {
			o.log("mirror ready", w)
			return true
		}
	}
	if reason := err.Error(); r.reasons[w.Key] != reason && ctx.Err() == nil {
		r.reasons[w.Key] = reason
		o.log("mirror not ready yet", w, "reason", reason)
	}
	return false
}

func (o Options) log(message string, w Want, more ...any) {
	if o.Log != nil {
		o.Log.Info(message, append([]any{"source", w.Source, "target", w.Target}, more...)...)
	}
}

// has reports whether a mirror's target has answered before.
func (o Options) has(key string) bool {
	_, err := input.NewRoot(o.Root).Lstat(o.file(key))
	return err == nil
}

func (o Options) file(key string) string {
	return filepath.Join(o.Root, plan.ReadyDir, key+plan.ReadySuffix)
}

// leave leaves the answer for a mirror.
func (o Options) leave(w Want) error {
	data, err := json.Marshal(struct {
		Source string    `json:"source"`
		Target string    `json:"target"`
		At     time.Time `json:"at"`
	}{w.Source, w.Target, time.Now().UTC()})
	if err != nil {
		return err
	}
	return durable.Tree{Root: input.NewRoot(o.Root)}.Replace(o.file(w.Key), append(data, '\n'))
}

const (
	shortest = time.Second
	longest  = 30 * time.Second
)

// Run asks until each target has answered, or ctx ends. The longer it takes, the less
// often it asks.
func Run(ctx context.Context, wants []Want, o Options) {
	r := round{Options: o, reasons: map[string]string{}}
	began := time.Now()
	for {
		if wants = r.request(ctx, wants); len(wants) == 0 {
			return
		}
		timer := time.NewTimer(min(max(time.Since(began)/4, shortest), longest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
