//go:build linux

package tokens

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// TestFailure checks that a failure is remembered for some seconds and no
// longer, says so, and is not made longer by a key that waits on another.
func TestFailure(t *testing.T) {
	d := newDesk(t)
	d.err = errors.New("managed identity: refused")
	if _, err := d.get(mine); err == nil || err.Error() != d.err.Error() {
		t.Errorf("the first failure is %v", err)
	}
	d.now = noon.Add(7 * time.Second)
	hit, err := d.get(mine)
	const want = "managed identity: refused (remembered since 12:00:00.000Z; not tried again before 12:00:08.000Z)"
	if !hit || err == nil || err.Error() != want || d.made != 1 {
		t.Errorf("the second failure is %v after %d fetches; want %s", err, d.made, want)
	}
	d.err = err
	other := NewKey("bar.azurecr.io", "azure")
	if _, err := d.get(other); err == nil || err.Error() != want {
		t.Errorf("the failure that another waits on is %v; want %s", err, want)
	}
	d.now, d.err = noon.Add(8*time.Second), nil
	d.want(mine, false, "after 8 s")
	d.want(other, false, "after 8 s")
	d.want(mine, true, "repaired")
}

// busy is the failure of a server that asked to be left alone.
type busy time.Duration

func (b busy) Error() string { return "status 429" }

func (b busy) RetryAfter() time.Duration { return time.Duration(b) }

// TestRetryAfter checks that a server is left alone for as long as it asked, but
// not for longer than five minutes, also if another key waits on it.
func TestRetryAfter(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		-time.Second:     8 * time.Second,
		time.Second:      8 * time.Second,
		time.Minute:      time.Minute,
		5 * time.Minute:  5 * time.Minute,
		18 * time.Hour:   5 * time.Minute,
		90 * time.Second: 90 * time.Second,
	} {
		d := newDesk(t)
		d.err = fmt.Errorf("no credential: %w", busy(asked))
		other := NewKey("bar.azurecr.io", "azure")
		if hit, err := d.get(mine); hit || err == nil {
			t.Errorf("Retry-After %s: the first failure is %t, %v", asked, hit, err)
		}
		d.now = noon.Add(want - 1)
		hit, err := d.get(mine)
		if !hit || err == nil || d.made != 1 {
			t.Errorf("Retry-After %s: %s later, kept = %t, %v after %d fetches; want the failure", asked, want-1, hit, err, d.made)
		}
		d.err = err
		d.get(other)
		if hit, err := d.get(other); !hit || err == nil {
			t.Errorf("Retry-After %s: for another key, kept = %t, %v; want the failure", asked, hit, err)
		}
		d.now, d.err = noon.Add(want), nil
		d.want(mine, false, fmt.Sprintf("Retry-After %s: %s later", asked, want))
		d.want(other, false, fmt.Sprintf("Retry-After %s: %s later, another key", asked, want))
	}
}

// TestStopped checks that a run that was told to stop leaves no failure behind.
func TestStopped(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.cache.Get(ctx, []Key{mine}, func(ctx context.Context) (credential.Credential, Key, error) {
		cancel()
		return credential.Credential{}, mine, ctx.Err()
	})
	d.want(mine, false, "after it")
}

// saying is a failure that quotes another program.
type saying struct{ said string }

func (s saying) Error() string { return "it failed: " + s.said }

func (s saying) Brief() string { return "it failed" }

// TestFailureIsBrief checks that what another program said is not kept.
func TestFailureIsBrief(t *testing.T) {
	if got := brief(fmt.Errorf("credential provider %w; look", saying{"c4n4ry"})); got != "credential provider it failed; look" {
		t.Errorf("brief = %q", got)
	}
	if got := brief(errors.New("plain")); got != "plain" {
		t.Errorf("brief = %q; want it as it is", got)
	}
}
