package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
)

const tokenMap = `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.corp"]
[registry."harbor.corp"]
credential = "pod"
[credential.pod]
kind = "service-account-token"
username = "u"
audience = "harbor"
`

// makePlan makes a plan with answers from the world, except for those given.
func makePlan(t *testing.T, w *world, d Desired, o Observed, answers map[subject]Answer) Plan {
	t.Helper()
	for range 10 {
		p, questions, err := Make(d, o, Moments{Moment: w.now})
		if err != nil && len(questions) == 0 {
			t.Fatal(err)
		}
		if len(questions) == 0 {
			return p
		}
		for _, q := range questions {
			a, ok := answers[q.About]
			if !ok {
				a = w.answer(q)
			}
			o.Answers[q] = a
		}
	}
	t.Fatal("the plan asks for more and more")
	return Plan{}
}

// TestReadStaysKnown leaves the kubelet's file for now, after the version of the
// kubelet was asked for: what the kubelet has read stays known.
func TestReadStaysKnown(t *testing.T) {
	w := newWorld(nil)
	if _, err := w.apply(desire("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n")); err != nil {
		t.Fatal(err)
	}
	w.startKubelet(true)
	d := desire(tokenMap)
	o := w.observe(d)
	read := kubeletRead{PID: 100, Started: w.run[0].Started, Entries: o.entries()}
	o.State.Kubelets = []kubeletRead{read}
	o.Kubelet.Version.Stamp += " by another program"
	p := makePlan(t, w, d, o, map[subject]Answer{AboutStillness: {Text: "it is being written", Left: time.Second}})
	if p.Settles != time.Second || len(p.Pending) == 0 || !strings.Contains(p.Pending[0].Reason, "it is being written") {
		t.Fatalf("the plan settles after %v, and pending are %v; want it to leave the kubelet's file", p.Settles, p.Pending)
	}
	if got := p.Next.Kubelets; len(got) != 1 || !reflect.DeepEqual(got[0], read) {
		t.Errorf("what the kubelet read is remembered as %v; want %v", got, read)
	}
}

// TestDirectWhileHeld holds a source that would be served by itself again: whichever
// mirror comes first in the map, login servers go on having their credential.
func TestDirectWhileHeld(t *testing.T) {
	const one, other, self = "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n",
		"[[mirror]]\nsource = \"*\"\ntargets = [\"mirror.example\"]\n",
		"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"docker.io\"]\n"
	for _, mirrors := range []string{other + self, self + other} {
		w := newWorld(nil)
		if _, err := w.apply(desire("version = 1\n" + one + other)); err != nil {
			t.Fatal(err)
		}
		w.startKubelet(true)
		if _, err := w.apply(desire("version = 1\n" + one + other)); err != nil {
			t.Fatal(err)
		}
		if r := w.route(hosts.Default); r.Direct == nil {
			t.Fatal("the route of * has no credential for login servers to begin with")
		}
		d := desire("version = 1\n" + mirrors)
		d.Hold = func(string) bool { return true }
		p, err := w.apply(d)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.route(hosts.Default); len(p.Held) != 1 || r.Direct == nil {
			t.Errorf("with %q, held are %v, and the route of * has %v for login servers; want what it had", mirrors, p.Held, r.Direct)
		}
	}
}
