//go:build unix

package mirror

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNotesOfMany checks that the notes of a large map are few, and made soon.
func TestNotesOfMany(t *testing.T) {
	var text strings.Builder
	text.WriteString("version = 1\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"s%d.io\"\ntargets = [\"t%d.io\"]\n[registry.\"r%d.io\"]\n", i, i, i)
	}
	began := processorTime(t)
	m := mustParse(t, text.String())
	if took := processorTime(t) - began; len(m.Notes) > 2+maxChecked || took > 10*time.Second {
		t.Errorf("%d notes after %s of the processor; want few, and soon", len(m.Notes), took)
	}
}

// processorTime returns how long this process has had a processor. On a busy machine that
// says more than the clock.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
