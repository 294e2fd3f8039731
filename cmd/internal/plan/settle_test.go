package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestOursAnswersWhileFileIsLeft has the map drive the stock plugin, while another
// program may be writing the kubelet's file: a kubelet that runs mirrorcred's plugin from
// before has its answers meanwhile, also in another hosts_dir, and once no kubelet
// runs it, there are none.
func TestOursAnswersWhileFileIsLeft(t *testing.T) {
	const ours = "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n"
	stock := ours + "[kubelet]\nplugin = \"" + mirror.Stock + "\"\n"
	for name, c := range map[string]struct {
		hostsDir string
		restarts bool // without mirrorcred's plugin
		answers  bool
	}{
		"the kubelet runs on":                 {hostsDir: trees[0], answers: true},
		"it runs on, and hosts_dir changes":   {hostsDir: trees[1], answers: true},
		"it has started with another's file ": {hostsDir: trees[0], restarts: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(nil)
			for range 2 {
				if _, err := w.apply(desire("version = 1\n" + ours)); err != nil {
					t.Fatal(err)
				}
				w.startKubelet(true)
			}
			d := desire("version = 1\n[containerd]\nhosts_dir = \"" + c.hostsDir + "\"\n" + stock)
			w.desired = c.hostsDir
			o := w.observe(d)
			o.State.Kubelets = nil
			if c.restarts {
				o.State.Kubelets = []kubeletRead{{PID: 100, Started: w.run[0].Started, Entries: []Entry{}}}
			}
			o.Kubelet.Version.Stamp += " by another program"
			p := makePlan(t, w, d, o, map[subject]Answer{
				AboutStillness: {Text: "it is being written", Left: time.Second}, AboutIdentity: {},
			})
			if len(p.Pending) == 0 || !strings.Contains(p.Pending[0].Reason, "it is being written") {
				t.Fatalf("pending are %v; want the kubelet's file to be left", p.Pending)
			}
			if err := p.CarryOut(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			offers, err := w.decided(modelImages[1])
			if isAnswered := err == nil && len(offers) == 1; isAnswered != c.answers {
				t.Errorf("the answer is %v, %v; want one: %t", offers, err, c.answers)
			}
		})
	}
}
