package plan

import (
	"reflect"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// at is a moment of one boot.
func at(seconds int) Moment { return Moment{"boot", time.Duration(seconds) * time.Second} }

func TestProvide(t *testing.T) {
	a, b, c := []Entry{{Name: "a"}}, []Entry{{Name: "a", Match: []string{"b"}}}, []Entry{{Name: "a", Token: "c"}}
	var s State
	s.Provide(a, at(10), nil, false)
	s.Provide(a, at(20), nil, false)
	if want := []provided{{at(10), a}}; !reflect.DeepEqual(s.Provided, want) {
		t.Errorf("after the same twice: %v; want %v", s.Provided, want)
	}
	// A kubelet that has a runs on while b and c come.
	running := []Process{{Started: at(15)}}
	s.Provide(b, at(30), running, false)
	s.Provide(c, at(40), running, false)
	for started, want := range map[int][]Entry{5: nil, 10: nil, 11: a, 30: a, 31: b, 41: c} {
		if got := s.readBy(at(started)); !reflect.DeepEqual(got, want) {
			t.Errorf("a kubelet started at %d has %v; want %v", started, got, want)
		}
	}
	if got := s.readBy(Moment{"another boot", time.Second}); !reflect.DeepEqual(got, c) {
		t.Errorf("a kubelet of the next boot has %v; want %v", got, c)
	}
	// It restarts: no kubelet has a or b any more.
	s.Provide(a, at(50), []Process{{Started: at(45)}}, false)
	if want := []provided{{at(40), c}, {at(50), a}}; !reflect.DeepEqual(s.Provided, want) {
		t.Errorf("after the restart: %v; want %v", s.Provided, want)
	}
}

func TestSourceOf(t *testing.T) {
	for namespace, want := range map[string]string{
		"_default": "*", "docker.io": "docker.io", "harbor.corp_8443_": "harbor.corp:8443", "[2001:db8::1]_5000_": "[2001:db8::1]:5000",
	} {
		if got := hosts.HostOf(namespace); got != want {
			t.Errorf("hosts.HostOf(%q) = %q; want %q", namespace, got, want)
		}
	}
}

// TestUnseenKubeletKeepsWhatWasProvided tells that a kubelet which may run unseen
// may have any configuration that was there.
func TestUnseenKubeletKeepsWhatWasProvided(t *testing.T) {
	var s State
	for i := range 3 * maxProvided {
		s.Provide([]Entry{{Name: "a", Match: []string{string(rune('a' + i))}}}, at(10*(i+1)), nil, true)
	}
	if got := s.readBy(at(10*3*maxProvided - 5)); len(s.Provided) != maxProvided || len(got) != 1 {
		t.Errorf("%d configurations are remembered, and the last but one is %v", len(s.Provided), got)
	}
}
