package node

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// TestClockOfTheKubelet has another program write the kubelet's file, with mirrorcred's providers in it,
// before the kubelet starts: by the file's time that has read them, if the times
// count.
func TestClockOfTheKubelet(t *testing.T) {
	for name, test := range map[string]struct {
		dating plan.Dating
		want   string
		warns  bool
	}{
		"the clock was not set":    {plan.Dating{}, "", false},
		"nothing tells":            {plan.Dating{Untold: true}, "", true},
		"it was set":               {plan.Dating{Worthless: true}, "pending mcr.microsoft.com: active, but its pulls may have no credential: the wall clock was set after the kubelet (process 100) started", false},
		"it was nudged by as much": {plan.Dating{Drift: 2 * time.Second}, "pending mcr.microsoft.com: active, but its pulls may have no credential: the kubelet's configuration changed after", false},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			apply(t, n)
			host.startKubelet(theFlags...)
			apply(t, n)
			data, err := os.ReadFile(n.path(kubeletFile))
			if err != nil {
				t.Fatal(err)
			}
			write(t, n.path(kubeletFile), string(data)+"# by another program\n")
			host.dating = test.dating
			host.startKubelet(theFlags...) // a second later
			for range 2 {
				todo := apply(t, n)
				wantLeft(t, todo, test.want)
				isWarned := slices.ContainsFunc(todo.Warnings, func(w doctor.Finding) bool { return w.Name == doctor.ClockUnknown && w.Where == "process 100" })
				if isWarned != test.warns {
					t.Errorf("the warnings are %v; want one of the clock %t", todo.Warnings, test.warns)
				}
			}
		})
	}
}

// TestClockSetBack has another program write the kubelet's file, the kubelet start,
// and the wall clock be set back, so that the file looks younger than the kubelet.
// When mirrorcred writes the file next, it is not known what the kubelet has read.
func TestClockSetBack(t *testing.T) {
	for _, isSet := range []bool{false, true} {
		n, host := newNode(t, oneMap)
		apply(t, n)
		data, err := os.ReadFile(n.path(kubeletFile))
		if err != nil {
			t.Fatal(err)
		}
		write(t, n.path(kubeletFile), string(data)+"# by another program\n")
		v, err := versionOf(nil, n.path(kubeletFile))
		if err != nil {
			t.Fatal(err)
		}
		ahead := host.moment
		ahead.Since += time.Hour
		host.changes, host.set = map[time.Time]plan.Moment{v.Changed: ahead}, isSet
		host.startKubelet(theFlags...)
		const added = oneMap + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n"
		applyMap(t, n, added)
		got := summary(apply(t, n))
		if isKnown := !strings.Contains(got, "mcr.microsoft.com: active, but its pulls may have no credential"); isKnown == isSet {
			t.Errorf("the clock was set %t: %s", isSet, got)
		}
	}
}
