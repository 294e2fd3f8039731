package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A sum is what came out of a run.
type sum struct {
	trees                                        int
	armed, right, wrong, unsafe, refused, reason map[string]int // by version, "" if it is not known
	marks                                        map[string]int
	faults                                       []found
}

// A found is a tree with a fault.
type found struct {
	judged
	version, fault string
}

func newSum() *sum {
	return &sum{armed: map[string]int{}, right: map[string]int{}, wrong: map[string]int{}, unsafe: map[string]int{}, refused: map[string]int{},
		reason: map[string]int{}, marks: map[string]int{}}
}

func (s *sum) add(j judged) {
	s.trees++
	for mark := range j.tree.Marks {
		s.marks[mark]++
	}
	for _, v := range append([]string{""}, versions...) {
		if v == "" && j.anyLine || j.ours[v].armed {
			s.armed[v]++
		}
		switch {
		case v == "":
		case j.theirs[v].Reads():
			s.right[v]++
		default:
			s.wrong[v]++
		}
		fault := j.fault(v)
		switch fault {
		case "unsafe":
			s.unsafe[v]++
		case "refused":
			s.refused[v]++
		case "another reason":
			s.reason[v]++
		}
		if fault != "" {
			s.faults = append(s.faults, found{j, v, fault})
		}
	}
}

// String is a table for people.
func (s *sum) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d trees\n%-12s %14s %14s %7s %7s %14s %s\n", s.trees, "containerd", "right", "wrong", "armed", "unsafe", "refused", "another reason")
	share := func(n, of int) string { return fmt.Sprintf("%d %5.1f%%", n, 100*float64(n)/float64(max(of, 1))) }
	for _, v := range versions {
		fmt.Fprintf(&b, "%-12s %14s %14s %7d %7d %14s %d\n", v, share(s.right[v], s.trees), share(s.wrong[v], s.trees),
			s.armed[v], s.unsafe[v], share(s.refused[v], s.right[v]), s.reason[v])
	}
	fmt.Fprintf(&b, "%-12s %14s %14s %7d %7d\n", "not known", "", "", s.armed[""], s.unsafe[""])
	least, examples := "", 0
	for _, mark := range slices.Sorted(maps.Keys(s.marks)) {
		switch {
		case !strings.HasPrefix(mark, "example "):
			fmt.Fprintf(&b, "%6d %s\n", s.marks[mark], mark)
		case least == "" || s.marks[mark] < s.marks[least]:
			least = mark
			fallthrough
		default:
			examples++
		}
	}
	fmt.Fprintf(&b, "%6d or more of each of %d examples\n", s.marks[least], examples)
	return b.String()
}

// check holds a run against what was promised of it.
func (s *sum) check(t *testing.T, examples []Example) {
	t.Helper()
	for _, v := range versions {
		if least := s.trees / 5; s.right[v] < least || s.wrong[v] < least {
			t.Errorf("containerd %s: %d trees are right and %d wrong; want %d or more of each", v, s.right[v], s.wrong[v], least)
		}
		if s.refused[v]*50 >= s.right[v] {
			t.Errorf("containerd %s: %d of %d right trees are refused; want less than one in 50", v, s.refused[v], s.right[v])
		}
	}
	for v, n := range s.unsafe {
		t.Errorf("containerd %s: %d trees are unsafe", v, n)
	}
	for v, n := range s.reason {
		t.Errorf("containerd %s: %d trees have another reason", v, n)
	}
	if s.trees < 2000 {
		return // for a look only
	}
	for _, e := range examples {
		if n := s.marks["example "+e.Name]; n < 20 {
			t.Errorf("example %s occurs %d times; want 20 or more", e.Name, n)
		}
	}
}
