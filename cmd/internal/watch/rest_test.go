package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestGiveBackProgram checks that the memory of the program's file is less afterwards, and
// that the program runs on.
func TestGiveBackProgram(t *testing.T) {
	before := mappedFile(t)
	giveBackProgram()
	after := mappedFile(t)
	readProgramAhead()
	if after > before/2 {
		t.Errorf("of the program's file, %d KiB were in memory, and %d KiB are; want half at most", before, after)
	}
}

// mappedFile returns how much memory of files the process has, in KiB.
func mappedFile(t *testing.T) (kib int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "\nRssFile:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// TestUnwritten reads lines of /proc/self/maps.
func TestUnwritten(t *testing.T) {
	const file = "/usr/bin/mirror cred"
	for line, want := range map[string]extent{
		"00400000-00cd5000 r-xp 00000000 fe:00 1234                               /usr/bin/mirror cred\n":           {0x400000, 0x8d5000},
		"00cd5000-01603000 r--p 008d5000 fe:00 1234                               /usr/bin/mirror cred":             {0xcd5000, 0x92e000},
		"01603000-0168d000 rw-p 01203000 fe:00 1234                               /usr/bin/mirror cred\n":           {},
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 1234                       /usr/bin/othermirror cred\n":      {},
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 1234                       /usr/bin/mirror cred (deleted)\n": {},
		"7ffe00000000-7ffe00021000 r-xp 00000000 00:00 0                          [vdso]\n":                         {},
		"7f0000000000-7f0000001000 r--p 00000000 00:00 0\n":                                                         {},
		"2000-1000 r--p 00000000 fe:00 1234                                       /usr/bin/mirror cred\n":           {},
		"x-1000 r--p 00000000 fe:00 1234                                          /usr/bin/mirror cred\n":           {},
		"":   {},
		"\n": {},
	} {
		if got, ok := unwritten(line, file); got != want || ok != (want != extent{}) {
			t.Errorf("%q: %+v, %v; want %+v", line, got, ok, want)
		}
	}
}

// TestMemoryGivenBackWhenStill checks that the start's memory is given back once, when the node has been still
// for some passes.
func TestMemoryGivenBackWhenStill(t *testing.T) {
	var done []string
	r := NewRest()
	defer r.Stop()
	r.next = []func(){func() { done = append(done, "given back") }, func() { done = append(done, "read ahead") }}
	pass := func(isIdle bool, want string) {
		t.Helper()
		r.Begin(isIdle)
		r.timer.Stop()
		r.giveBack()
		if got := strings.Join(done, ", "); got != want {
			t.Errorf("done is %q; want %q", got, want)
		}
	}
	for range settledAfter - 1 {
		pass(true, "")
	}
	pass(false, "")
	for range settledAfter - 1 {
		pass(true, "")
	}
	pass(true, "given back")
	pass(true, "given back, read ahead")
	pass(true, "given back, read ahead")
}

// TestMemoryGivenBackSlowly has the rest after the next begin while memory is still given back, as with
// little CPU time.
func TestMemoryGivenBackSlowly(t *testing.T) {
	r := NewRest()
	defer r.Stop()
	r.idle.Store(settledAfter)
	began, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.next = []func(){func() { close(began); <-goOn }}
	go func() {
		defer close(ended)
		r.giveBack()
	}()
	<-began
	r.giveBack() // would do the same a second time
	close(goOn)
	<-ended
	if len(r.next) != 0 {
		t.Errorf("%d steps are left", len(r.next))
	}
}
