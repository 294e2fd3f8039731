package clock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// TestHistory tells when the wall clock counts as set.
func TestHistory(t *testing.T) {
	at := func(boot string, wall, up time.Duration) Clocks {
		return Clocks{Boot: boot, Wall: time.Unix(0, 0).Add(wall), Up: up, Mono: up}
	}
	first, isNew := History{}.Next(at("a", 100*time.Hour, time.Hour))
	if !isNew || first.Set || first.Since != time.Hour {
		t.Fatalf("the first is %+v, new %t; want one that is new and not set", first, isNew)
	}
	for name, test := range map[string]struct {
		now        Clocks
		isNew, set bool
	}{
		"later":           {at("a", 101*time.Hour, 2*time.Hour), false, false},
		"a second ahead":  {at("a", 101*time.Hour+time.Second, 2*time.Hour), false, false},
		"more than that":  {at("a", 101*time.Hour+1001*time.Millisecond, 2*time.Hour), true, true},
		"behind":          {at("a", 90*time.Hour, 2*time.Hour), true, true},
		"of another boot": {at("b", 90*time.Hour, time.Minute), true, false},
	} {
		h, isNew := first.Next(test.now)
		if isNew != test.isNew || h.Set != test.set || isNew && h.Since != test.now.Up {
			t.Errorf("%s: %+v, new %t; want new %t, set %t", name, h, isNew, test.isNew, test.set)
		}
	}
}

// TestJudge sets the wall clock before and after a process starts, with a history
// from before the start, from after it, and with none.
func TestJudge(t *testing.T) {
	const hour = time.Hour
	boot := time.Unix(0, 0).Add(100 * hour)
	// The machine runs for ten hours, of which it slept two before the start; the
	// process started after five.
	now := Clocks{Boot: "a", Wall: boot.Add(10 * hour), Up: 10 * hour, Mono: 8 * hour}
	const start = 5 * hour
	told := func(ahead time.Duration) UnitStart {
		return func(_ context.Context, unit string) (systemd.State, error) {
			mono := start - (now.Up - now.Mono)
			return systemd.State{Started: mono, StartedAt: boot.Add(start + ahead)}, nil
		}
	}
	silent := func(context.Context, string) (systemd.State, error) { return systemd.State{}, errors.New("no systemd") }
	of := func(since, ahead time.Duration, isSet bool) History {
		return History{Boot: "a", Offset: now.offset() + ahead, Since: since, Set: isSet}
	}
	for name, test := range map[string]struct {
		h    History
		unit string
		ask  UnitStart
		want Trust
		most time.Duration
	}{
		"known since before the start":              {of(hour, 0, false), "x.service", silent, Trusted, 0},
		"nudged since":                              {of(hour, 300*time.Millisecond, false), "x.service", silent, Trusted, 300 * time.Millisecond},
		"set before the start":                      {of(4*hour, 0, true), "x.service", silent, Trusted, 0},
		"set after it":                              {of(6*hour, 0, true), "x.service", told(0), Worthless, 0},
		"first looked after it":                     {of(6*hour, 0, false), "x.service", told(0), Trusted, 0},
		"and it was set back":                       {of(6*hour, 0, false), "x.service", told(hour), Worthless, 0},
		"and it was set forward":                    {of(6*hour, 0, false), "x.service", told(-hour), Worthless, 0},
		"and it was set by less than a second":      {of(6*hour, 0, false), "x.service", told(900 * time.Millisecond), Trusted, 900 * time.Millisecond},
		"and no systemd tells":                      {of(6*hour, 0, false), "x.service", silent, Untold, 0},
		"and it is in no unit":                      {of(6*hour, 0, false), "", told(0), Untold, 0},
		"and systemd tells of an earlier boot only": {of(6*hour, 0, false), "x.service", func(context.Context, string) (systemd.State, error) { return systemd.State{}, nil }, Untold, 0},
	} {
		if got, drift := Judge(t.Context(), test.h, now, start, test.unit, test.ask); got != test.want || drift != test.most {
			t.Errorf("%s: Judge = %v, %v; want %v, %v", name, got, drift, test.want, test.most)
		}
	}
}
