package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const canary = "CANARY-OF-DELIVERY"

// life is how long the credentials of the cloud in these tests last.
const life = 12 * time.Hour

// A cloud is where the credentials come from and the registries that take them.
type cloud struct {
	mu      sync.Mutex
	fetched map[string][]time.Time // by registry
	proved  map[string]int
	fetch   func(Want) (Fetched, error)                        // nil for a credential of [life]
	prove   func(Want, credential.Secret) (prove.Proof, error) // nil for yes
	renewed int
}

func newCloud() *cloud {
	return &cloud{fetched: map[string][]time.Time{}, proved: map[string]int{}}
}

func (c *cloud) Fetch(_ context.Context, w Want) (Fetched, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := w.Target.String()
	c.fetched[name] = append(c.fetched[name], time.Now())
	if c.fetch != nil {
		return c.fetch(w)
	}
	c.renewed++
	return Fetched{Authorization: credential.Secret(fmt.Sprintf("Basic %s%d", canary, c.renewed)), Until: time.Now().Add(life)}, nil
}

func (c *cloud) Prove(_ context.Context, w Want, a credential.Secret) (prove.Proof, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proved[w.Target.String()]++
	if c.prove != nil {
		return c.prove(w, a)
	}
	return prove.Proof{Certain: true}, nil
}

// deliverer returns a deliverer of the cloud; log gets its lines.
func (c *cloud) deliverer(store handover.Store, log *strings.Builder) *Deliverer {
	return &Deliverer{Store: store, Fetch: c.Fetch, Prove: c.Prove, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// mirrors returns a map with that many sources, each of one of ten registries.
func mirrors(t *testing.T, sources int) *mirror.Map {
	t.Helper()
	var b strings.Builder
	b.WriteString("version = 1\n[credential.robot]\nkind = \"docker-config\"\npath = \"/robot.json\"\n")
	for i := range 10 {
		fmt.Fprintf(&b, "[registry.\"r%d.example\"]\ncredential = \"robot\"\ndeliver = \"hosts\"\n", i)
	}
	for i := range sources {
		fmt.Fprintf(&b, "[[mirror]]\nsource = \"s%d.example\"\ntargets = [\"r%d.example\", \"s%[1]d.example\"]\n", i, i%10)
	}
	m, err := mirror.Parse("", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wanted(t *testing.T, sources int) []Want {
	return Wanted(mirrors(t, sources), func(string) (fs.FileInfo, error) { return nil, fs.ErrNotExist })
}

// run runs a deliverer with a list until stop is called.
func run(t *testing.T, d *Deliverer, list []Want) (wants chan<- []Want, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	in, done := make(chan []Want), make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx, in)
	}()
	in <- list
	return in, func() { cancel(); <-done }
}

// TestWeekOfRenewals runs a thousand sources of ten registries for a week: each registry is
// asked for as one, its credential is renewed before it is three quarters through, and
// is never asked for more often than that needs.
func TestWeekOfRenewals(t *testing.T) {
	store := handover.New(t.TempDir())
	list := wanted(t, 1000)
	if len(list) != 10 {
		t.Fatalf("a thousand sources of ten registries want %d credentials", len(list))
	}
	synctest.Test(t, func(t *testing.T) {
		c, log := newCloud(), &strings.Builder{}
		_, stop := run(t, c.deliverer(store, log), list)
		for range 7 * 24 {
			time.Sleep(time.Hour)
			synctest.Wait()
			for _, w := range list {
				v, err := store.Value(w.Key)
				if err != nil || time.Until(v.Until) < life/4 {
					t.Fatalf("%s has a credential until %s, %v; now is %s", w.Target, v.Until, err, time.Now())
				}
			}
		}
		stop()
		for name, times := range c.fetched {
			// Half of twelve hours, less a fifth of that at most.
			if least, most := 7*24/6, 7*24*10/48+2; len(times) < least || len(times) > most || c.proved[name] != len(times) {
				t.Errorf("%s was asked for %d credentials and %d proofs in a week; want %d to %d", name, len(times), c.proved[name], least, most)
			}
		}
		if len(c.fetched) != 10 || strings.Contains(log.String(), canary) {
			t.Errorf("%d registries were asked, and the log is %s", len(c.fetched), log)
		}
		if !strings.Contains(log.String(), "credential delivered\" registry=r0.example") || !strings.Contains(log.String(), "credential renewed\" registry=r0.example") {
			t.Errorf("the log does not tell of it: %s", log)
		}
	})
}

// TestNodesAskAtDifferentTimes checks that two nodes do not ask at the same time.
func TestNodesAskAtDifferentTimes(t *testing.T) {
	w := wanted(t, 10)[0]
	now := time.Now()
	v := handover.Value{From: now, Until: now.Add(life)}
	seen := map[time.Time]bool{}
	for seed := range uint64(100) {
		due := newSchedule(seed).renewal(w, v)
		if due.Before(now.Add(life*4/10)) || due.After(now.Add(life/2)) {
			t.Fatalf("renewed after %s of %s", due.Sub(now), life)
		}
		seen[due.Truncate(time.Minute)] = true
	}
	if len(seen) < 30 {
		t.Errorf("a hundred nodes ask in %d different minutes", len(seen))
	}
}

// TestNotDueAtOnce checks that nothing about a credential or its file, nor a clock that is wrong,
// makes it due again at once, and that one which has expired is not handed over.
func TestNotDueAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		life, renew, written time.Duration // from now; 0 for none
		most                 int           // fetches in an hour
		ended                bool
	}{
		"ended":                   {life: -time.Minute, most: 30, ended: true},
		"ended long ago":          {life: -40 * 365 * 24 * time.Hour, most: 30, ended: true},
		"ends as it is fetched":   {life: -time.Nanosecond, most: 30, ended: true},
		"a second of life":        {life: time.Second, most: 900},
		"without an end for ever": {life: 290 * 365 * 24 * time.Hour, most: 1},
		"renewed in the past":     {renew: -time.Hour, most: 75},
		"renewed at once":         {renew: time.Nanosecond, most: 75},
		"a file from the future":  {life: life, written: 24 * time.Hour, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			store, list := handover.New(t.TempDir()), wanted(t, 10)[:1]
			synctest.Test(t, func(t *testing.T) {
				c, log := newCloud(), &strings.Builder{}
				c.fetch = func(Want) (Fetched, error) {
					if len(c.fetched["r0.example"]) > 10*test.most {
						time.Sleep(time.Minute) // the test has failed, and ends
					}
					f := Fetched{Authorization: "Basic " + canary}
					if test.life != 0 {
						f.Until = time.Now().Add(test.life)
					}
					if test.renew != 0 {
						f.Renew = time.Now().Add(test.renew)
					}
					return f, nil
				}
				if test.written != 0 {
					list[0].Written = time.Now().Add(test.written)
				}
				_, stop := run(t, c.deliverer(store, log), list)
				time.Sleep(time.Hour - time.Minute)
				synctest.Wait()
				stop()
				if n := len(c.fetched["r0.example"]); n < 1 || n > test.most {
					t.Errorf("%d fetches in an hour; want %d at most", n, test.most)
				}
				fault, err := store.Fault(list[0].Key)
				if is := err == nil && strings.Contains(fault.Reason, "check that the node's clock is right"); is != test.ended {
					t.Errorf("the fault is %q, %v", fault.Reason, err)
				}
				if _, err := store.Value(list[0].Key); (err != nil) != test.ended {
					t.Errorf("the value: %v", err)
				}
			})
		})
	}
}

// TestLateResult checks that a delivery which ends after the map stopped wanting it
// leaves nothing, whether the process goes on or ends, and that one which is wanted
// again meanwhile does not run twice at a time.
func TestLateResult(t *testing.T) {
	for name, then := range map[string]func(in chan<- []Want, list []Want, stop func()){
		"goes on": func(chan<- []Want, []Want, func()) {},
		"ends":    func(_ chan<- []Want, _ []Want, stop func()) { go stop() },
		"wanted again": func(in chan<- []Want, list []Want, _ func()) {
			in <- list
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, list := handover.New(t.TempDir()), wanted(t, 10)[:1]
			synctest.Test(t, func(t *testing.T) {
				c, log := newCloud(), &strings.Builder{}
				d := c.deliverer(store, log)
				running, most := 0, 0
				d.Prove = func(_ context.Context, w Want, a credential.Secret) (prove.Proof, error) {
					running++
					most = max(most, running)
					time.Sleep(10 * time.Second) // whatever ends it: the answer is still coming
					running--
					return prove.Proof{Certain: true}, nil
				}
				in, stop := run(t, d, list)
				time.Sleep(time.Second)
				in <- nil
				time.Sleep(time.Second)
				then(in, list, stop)
				time.Sleep(time.Minute)
				synctest.Wait()
				if name != "ends" {
					stop()
				}
				keys, err := store.Keys()
				if want := name == "wanted again"; err != nil || len(keys) > 0 != want {
					t.Errorf("the keys are %q, %v", keys, err)
				}
				if most != 1 {
					t.Errorf("it ran %d times at once", most)
				}
				if f, err := store.Fault(list[0].Key); err == nil {
					t.Errorf("that is a fault: %s", f.Reason)
				}
			})
		})
	}
}

// TestNoLongerWanted checks that a credential goes as soon as the map does not want it, and
// that a changed file is fetched at once.
func TestNoLongerWanted(t *testing.T) {
	store := handover.New(t.TempDir())
	list := wanted(t, 10)
	synctest.Test(t, func(t *testing.T) {
		c, log := newCloud(), &strings.Builder{}
		in, stop := run(t, c.deliverer(store, log), list)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		changed := slices.Clone(list[:2])
		changed[0].Stamp = "another"
		in <- changed
		time.Sleep(time.Second)
		synctest.Wait()
		keys, err := store.Keys()
		if want := []string{list[0].Key, list[1].Key}; err != nil || len(keys) != 2 || !slices.Contains(want, keys[0]) || !slices.Contains(want, keys[1]) {
			t.Errorf("the keys are %q, %v; want %q", keys, err, want)
		}
		if a, b := len(c.fetched["r0.example"]), len(c.fetched["r1.example"]); a != 2 || b != 1 {
			t.Errorf("the changed one was fetched %d times, the other %d", a, b)
		}
	})
}

// TestKilledLeftover removes what a killed run was writing of a credential that nothing
// wants any more.
func TestKilledLeftover(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".mirrorcred-gone.json")
	if err := os.WriteFile(left, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	newCloud().deliverer(handover.New(dir), &log).Once(t.Context(), nil)
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v\n%s", left, err, log.String())
	}
}
