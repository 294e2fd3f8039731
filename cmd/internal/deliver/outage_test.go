package deliver

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/credential"
)

// TestOutage takes the source of the credentials away for three hours: it is asked
// again soon, then less often, and the credential stays; back again, it is renewed
// within five minutes.
func TestOutage(t *testing.T) {
	store := handover.New(t.TempDir())
	list := wanted(t, 10)[:1]
	synctest.Test(t, func(t *testing.T) {
		c, log := newCloud(), &strings.Builder{}
		_, stop := run(t, c.deliverer(store, log), list)
		defer stop()
		synctest.Wait()
		first, err := store.Value(list[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.fetched = map[string][]time.Time{}
		c.fetch = func(Want) (Fetched, error) { return Fetched{}, errors.New("the service\nis down") }
		c.mu.Unlock()
		time.Sleep(9 * time.Hour)
		synctest.Wait()
		times := c.fetched["r0.example"]
		if gap := times[1].Sub(times[0]); gap < firstPause || gap > 2*firstPause {
			t.Errorf("the second try came after %s", gap)
		}
		for i := range times[1:] {
			if gap := times[i+1].Sub(times[i]); gap < firstPause || gap > lastPause {
				t.Errorf("try %d came after %s", i+1, gap)
			}
		}
		if n := len(times); n < 35 || n > 80 {
			t.Errorf("%d tries in three hours", n)
		}
		fault, err := store.Fault(list[0].Key)
		if err != nil || !strings.Contains(fault.Reason, "the service is down") {
			t.Errorf("the fault is %+v, %v", fault, err)
		}
		if v, err := store.Value(list[0].Key); err != nil || v.Authorization != first.Authorization || !v.Until.Equal(first.Until) {
			t.Errorf("the credential did not stay: %+v, %v", v, err)
		}
		c.mu.Lock()
		c.fetch = nil
		c.mu.Unlock()
		time.Sleep(lastPause + time.Second)
		synctest.Wait()
		if v, err := store.Value(list[0].Key); err != nil || v.Authorization == first.Authorization {
			t.Errorf("not renewed: %v", err)
		}
		if _, err := store.Fault(list[0].Key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the fault stays: %v", err)
		}
		for _, want := range []string{"delivery failed", `delivery works again" registry=r0.example credential=robot fault="credential \"robot\": the service is down"`} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%q is logged %d times; want once:\n%s", want, n, log)
			}
		}
	})
}

// A busy registry asks to be left alone.
type busyError struct{ after time.Duration }

func (busyError) Error() string { return "too many" }

func (b busyError) RetryAfter() time.Duration { return b.after }

func TestRetryAfter(t *testing.T) {
	s := newSchedule(1)
	e := &entry{want: wanted(t, 10)[0]}
	for after, want := range map[time.Duration]time.Duration{0: firstPause, time.Minute: time.Minute, 30 * time.Hour: mostRetryAfter} {
		if got := s.pause(e, busyError{after}); got != want {
			t.Errorf("asked for %s, it waits %s; want %s", after, got, want)
		}
	}
}

// TestRestart stops the process again and again: nothing is fetched for that.
func TestRestart(t *testing.T) {
	store := handover.New(t.TempDir())
	list := wanted(t, 10)
	synctest.Test(t, func(t *testing.T) {
		c, log := newCloud(), &strings.Builder{}
		for range 40 {
			_, stop := run(t, c.deliverer(store, log), list)
			time.Sleep(time.Minute)
			synctest.Wait()
			stop()
		}
		for name, times := range c.fetched {
			if len(times) != 1 {
				t.Errorf("%s was asked %d times", name, len(times))
			}
		}
	})
}

// TestCrash ends the process at each step of a renewal: the value is the old or the
// new one, whole, and the next run renews it.
func TestCrash(t *testing.T) {
	list := wanted(t, 10)[:1]
	for step := range 6 {
		store := handover.New(t.TempDir())
		old := handover.Value{Registry: "r0.example", Authorization: "Basic b2xk", Credential: "robot", From: time.Now().Add(-life), Until: time.Now().Add(time.Minute)}
		if err := store.SetValue(list[0].Key, old); err != nil {
			t.Fatal(err)
		}
		c, log := newCloud(), &strings.Builder{}
		d := c.deliverer(store, log)
		ctx, kill := context.WithCancel(t.Context())
		steps := 0
		die := func() {
			if steps++; steps > step {
				kill()
			}
		}
		d.Fetch = func(ctx context.Context, w Want) (Fetched, error) {
			die()
			f, err := c.Fetch(ctx, w)
			die()
			return f, errors.Join(err, ctx.Err())
		}
		d.Prove = func(ctx context.Context, w Want, a credential.Secret) (prove.Proof, error) {
			die()
			p, err := c.Prove(ctx, w, a)
			die()
			return p, errors.Join(err, ctx.Err())
		}
		done, in := make(chan struct{}), make(chan []Want, 1)
		in <- list
		go func() { defer close(done); d.Run(ctx, in) }()
		for range 200 {
			if v, err := store.Value(list[0].Key); err != nil || ctx.Err() != nil || v.Authorization != old.Authorization {
				break
			}
			time.Sleep(time.Millisecond)
		}
		kill()
		<-done
		v, err := store.Value(list[0].Key)
		if err != nil || v.Authorization != old.Authorization && !strings.Contains(v.Authorization.Reveal(), canary) {
			t.Fatalf("stopped after step %d: %+v, %v", step, v, err)
		}
		if f, err := store.Fault(list[0].Key); err == nil {
			t.Errorf("stopped after step %d, that is a fault: %s", step, f.Reason)
		}
		if r := c.deliverer(store, log).Once(t.Context(), list); r[0].Err != nil || !strings.Contains(r[0].Value.Authorization.Reveal(), canary) {
			t.Errorf("after step %d: %+v", step, r[0])
		}
	}
}

// TestRefused checks what a refusal does to the present credential: it ends if the
// registry refuses it too, and stays otherwise.
func TestRefused(t *testing.T) {
	refusal := func(isOfCredential bool) error { return &prove.Refusal{Credential: isOfCredential} }
	now := time.Now().Truncate(time.Second)
	for name, test := range map[string]struct {
		until   time.Time
		fetch   credential.Secret // "" if it fails
		refused map[credential.Secret]error
		ends    bool
	}{
		"the same, refused":            {fetch: "Basic b2xk", refused: map[credential.Secret]error{"Basic b2xk": refusal(true)}, ends: true},
		"the same, with an end":        {until: now.Add(life), fetch: "Basic b2xk", refused: map[credential.Secret]error{"Basic b2xk": refusal(true)}, ends: true},
		"the same, registry down":      {fetch: "Basic b2xk", refused: map[credential.Secret]error{"Basic b2xk": errors.New("down")}},
		"the same, no registry":        {fetch: "Basic b2xk", refused: map[credential.Secret]error{"Basic b2xk": refusal(false)}},
		"another refused":              {fetch: "Basic bmV3", refused: map[credential.Secret]error{"Basic bmV3": refusal(true)}},
		"another refused, with an end": {until: now.Add(life), fetch: "Basic bmV3", refused: map[credential.Secret]error{"Basic bmV3": refusal(true), "Basic b2xk": refusal(true)}},
		"both refused":                 {fetch: "Basic bmV3", refused: map[credential.Secret]error{"Basic bmV3": refusal(true), "Basic b2xk": refusal(true)}, ends: true},
		"another leads elsewhere":      {until: now.Add(life), fetch: "Basic bmV3", refused: map[credential.Secret]error{"Basic bmV3": &prove.Refusal{Elsewhere: true}}, ends: true},
		"no source, old one taken":     {},
		"no source, old one refused":   {refused: map[credential.Secret]error{"Basic b2xk": refusal(true)}, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			store, list := handover.New(t.TempDir()), wanted(t, 10)[:1]
			old := handover.Value{Registry: "r0.example", Authorization: "Basic b2xk", Credential: "robot", From: now.Add(-life), Until: test.until}
			if err := store.SetValue(list[0].Key, old); err != nil {
				t.Fatal(err)
			}
			c, log := newCloud(), &strings.Builder{}
			c.fetch = func(Want) (Fetched, error) {
				if test.fetch == "" {
					return Fetched{}, errors.New("no source")
				}
				return Fetched{Authorization: test.fetch}, nil
			}
			c.prove = func(_ Want, a credential.Secret) (prove.Proof, error) {
				return prove.Proof{Certain: true}, test.refused[a]
			}
			r := c.deliverer(store, log).Once(t.Context(), list)[0]
			v, err := store.Value(list[0].Key)
			if err != nil || v.Authorization != old.Authorization || v.Ended(time.Now().Add(time.Second)) != test.ends {
				t.Errorf("the value is %+v, %v; ends %t", v, err, test.ends)
			}
			if _, err := store.Fault(list[0].Key); err != nil || r.Err == nil {
				t.Errorf("no fault: %v, %v", err, r.Err)
			}
		})
	}
}

// TestFileChangedWhileDown changes the file of a credential while the process does not run.
func TestFileChangedWhileDown(t *testing.T) {
	now := time.Now()
	w := wanted(t, 10)[0]
	v := handover.Value{From: now.Add(-time.Minute)}
	s := newSchedule(1)
	for written, due := range map[time.Duration]bool{-time.Hour: false, -time.Minute: false, -30 * time.Second: true} {
		w.Written = now.Add(written)
		if got := !s.resume(w, v, now).After(now); got != due {
			t.Errorf("written %s ago: due %t; want %t", -written, got, due)
		}
	}
	if v.From = now.Add(time.Hour); s.resume(w, v, now).After(now) {
		t.Error("a value from the future stays")
	}
}
