package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// modelReady is how long the mirrors of the model wait for their first target.
const modelReady = 90 * time.Second

// turnReady changes whether a source waits for its first target, or has the first
// targets of the map answer.
func (m *model) turnReady(what int) {
	switch {
	case what < 8:
		at := what % len(modelSources)
		m.says.ready[at] = !m.says.ready[at]
	case what < 12:
		for _, one := range desire(m.says.text()).Map.Mirrors {
			if one.Ready > 0 {
				m.answered[one.ReadyKey()] = true
			}
		}
	}
}

// firstTargets returns the registries that each source is sent to first by mirrorcred's
// files, in both trees.
func (m *model) firstTargets() map[string]map[string]bool {
	first := map[string]map[string]bool{}
	for _, tree := range m.trees {
		for name, data := range tree {
			if list := registriesIn(string(data)); hosts.OwnerOf(data) == hosts.Ours && len(list) > 0 {
				if first[name] == nil {
					first[name] = map[string]bool{}
				}
				first[name][list[0]] = true
			}
		}
	}
	return first
}

// checkReady holds that no run sends a source to a target that it waits for, before that
// has answered or the time is over. was is where the sources were sent before the run.
func (m *model) checkReady(says *mirror.Map, was map[string]map[string]bool) {
	for _, one := range says.Mirrors {
		if one.Ready == 0 {
			continue
		}
		key, name := one.ReadyKey(), hosts.Namespace(one.Source)
		since, ok := m.waits[key]
		if !ok || since.Boot != m.now.Boot {
			since = m.now
			m.waits[key] = since
		}
		first := one.Targets[0].Host().String()
		list := registriesIn(string(m.hosts(m.says.tree, name)))
		if len(list) == 0 || list[0] != first || was[name][first] || m.answered[key] {
			continue
		}
		if waited := m.now.Since - since.Since; waited < modelReady {
			m.errorf("%s is sent to %s, which has not answered, after %s of %s", one.Source, first, waited, modelReady)
		}
	}
}

// quay is a map with one mirror.
func quay(targets, more string) Desired {
	return desire("version = 1\n[[mirror]]\nsource = \"quay.io\"\ntargets = [" + targets + "]\n" + more)
}

// A turn is one apply of a map, and what must come of it.
type turn struct {
	what    string
	desired Desired
	before  func(w *world)
	first   string // the registry that is asked first then, "" if it is the source
	pending string // in the reason
	warning string // the name of the only one
}

// TestReadyDelays follows one mirror: it waits, its first target answers or the time ends,
// and what is on stays on.
func TestReadyDelays(t *testing.T) {
	const wait = "ready = \"90s\"\n"
	d, third := quay(`"mirror.example", "third.example"`, wait), quay(`"third.example"`, wait)
	pass := func(d time.Duration) func(w *world) { return func(w *world) { w.after(d) } }
	w := newWorld(nil)
	for _, turn := range []turn{
		{"a new mirror", d, pass(0), "", `"mirror.example" does not answer yet; the mirror is turned on once it does, at `, ""},
		{"89s later", d, pass(89 * time.Second), "", "does not answer yet", ""},
		{"after the time", d, pass(time.Second), "mirror.example", "", ""},
		{"it is on without an answer", d, pass(0), "mirror.example", "", doctor.MirrorNotReady},
		{"another program removes it", d, func(w *world) { w.remove(0, "quay.io") }, "mirror.example", "", doctor.MirrorNotReady},
		{"it answers", d, func(w *world) { w.answered[d.Map.Mirrors[0].ReadyKey()] = true }, "mirror.example", "", ""},
		{"the machine restarts", d, func(w *world) { w.now, w.answered = Moment{"next", time.Minute}, map[string]bool{} }, "mirror.example", "", ""},
		{"without the second target", quay(`"mirror.example"`, wait), pass(0), "mirror.example", "", ""},
		{"another first target", third, pass(0), "mirror.example", `"third.example" does not answer yet`, ""},
		{"which answers", third, func(w *world) { w.answered[third.Map.Mirrors[0].ReadyKey()] = true }, "third.example", "", ""},
		{"back to the first", d, pass(0), "third.example", `"mirror.example" does not answer yet`, ""},
		{"without ready", quay(`"mirror.example", "third.example"`, ""), pass(0), "mirror.example", "", ""},
	} {
		turn.before(w)
		p, err := w.apply(turn.desired)
		if err != nil {
			t.Fatal(err)
		}
		first := ""
		if w.has(0, "quay.io") {
			first = registriesIn(string(w.hosts(0, "quay.io")))[0]
		}
		if first != turn.first {
			t.Errorf("%s: %q is asked first; want %q", turn.what, first, turn.first)
		}
		if is := len(p.Pending) == 1 && strings.Contains(p.Pending[0].Reason, turn.pending); is != (turn.pending != "") || p.NeedsRestart {
			t.Errorf("%s: pending is %+v; want %q", turn.what, p.Pending, turn.pending)
		}
		if is := len(p.Warnings) == 1 && p.Warnings[0].Name == turn.warning; is != (turn.warning != "") || len(p.Warnings) > 1 {
			t.Errorf("%s: the warnings are %+v; want %q", turn.what, p.Warnings, turn.warning)
		}
	}
	if w.state.Ready != nil {
		t.Errorf("no mirror waits, and remembered is %v", w.state.Ready)
	}
}

// TestReadyUntil holds that a wait names the same time in each plan.
func TestReadyUntil(t *testing.T) {
	d := quay(`"mirror.example"`, "ready = \"90s\"\n")
	w := newWorld(nil)
	reasons := map[string]bool{}
	for range 80 {
		p, err := w.apply(d)
		if err != nil || len(p.Pending) != 1 {
			t.Fatal(p.Pending, err)
		}
		reasons[p.Pending[0].Reason] = true
		w.after(time.Second)
	}
	if len(reasons) != 1 {
		t.Errorf("the reasons are %v; want one", reasons)
	}
}

// TestReadyElsewhere holds that an image is built without the mirror: nothing can be
// asked there, and no time passes.
func TestReadyElsewhere(t *testing.T) {
	d := quay(`"http://127.0.0.1:30020"`, "ready = \"60s\"\n")
	d.Elsewhere = true
	w := newWorld(nil)
	p, err := w.apply(d)
	want := "\"http://127.0.0.1:30020\" does not answer yet, as nothing is asked from here; the node turns the mirror on once it does, 1m0s after its first run at the latest"
	if err != nil || len(p.Pending) != 1 || p.Pending[0].Reason != want || w.has(0, "quay.io") || w.state.Ready != nil {
		t.Errorf("the plan is pending %+v, %v; want %q", p.Pending, err, want)
	}
}

// TestReadyBegins holds that the time of the first target runs while the mirror waits for
// the kubelet too.
func TestReadyBegins(t *testing.T) {
	d := quay(`"contoso.azurecr.io"`, "ready = \"90s\"\n")
	w := newWorld(nil)
	w.startKubelet(true)
	p, err := w.apply(d)
	if err != nil || len(p.Pending) != 1 || !p.NeedsRestart {
		t.Fatalf("pending %+v, %v; want the kubelet to be waited for", p.Pending, err)
	}
	w.after(2 * time.Minute)
	w.startKubelet(true)
	if p, err = w.apply(d); err != nil || len(p.Pending) != 0 || !w.has(0, "quay.io") {
		t.Errorf("pending %+v, %v; want it on", p.Pending, err)
	}
}
