package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestSharedReasonPrintedOnce checks that a reason that many sources have is one line, where the first of
// them would be, and that few have a line each.
func TestSharedReasonPrintedOnce(t *testing.T) {
	var list []plan.Pending
	for i := range 6 {
		list = append(list, plan.NewPending(fmt.Sprintf("s%d.io", i), fault.Fault{What: []string{"many", "few"}[i%2]}))
	}
	list = append(list, plan.Pending{Source: "last.io", Reason: "many"})
	var out strings.Builder
	p := &printer{w: &out}
	p.pending(9, "fault", list)
	want := `fault    s0.io, s2.io, s4.io and 1 more: many
fault    s1.io: few
fault    s3.io: few
fault    s5.io: few
`
	if p.err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", p.err, out.String(), want)
	}
}
