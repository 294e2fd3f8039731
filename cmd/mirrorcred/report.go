package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// report returns an error for a person at a terminal: a fault in containerd's
// configuration on four lines, anything else as it is.
func report(err error) string {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var texts []string
		for _, one := range many.Unwrap() {
			texts = append(texts, report(one))
		}
		return strings.Join(texts, "\n")
	}
	var unarmed *node.NotArmedError
	if !errors.As(err, &unarmed) {
		return err.Error()
	}
	found, where, fix := "", "", ""
	what := "containerd is not known to read mirrorcred's hosts.toml files"
	if fault := (*containerd.Fault)(nil); errors.As(unarmed.Reason, &fault) {
		what = "containerd does not read mirrorcred's hosts.toml files"
		found, where, fix = fault.Found, fault.Where, fault.Fix
	} else if found = unarmed.Reason.Error(); strings.Contains(found, "; ") {
		i := strings.LastIndex(found, "; ")
		found, fix = found[:i], found[i+2:]
	}
	if where != "" {
		found += " (" + where + ")"
	}
	lines := []string{what, "  found  " + found}
	if fix != "" {
		lines = append(lines, "  fix    "+fix)
	}
	return strings.Join(append(lines, fmt.Sprintf("  until  %s", plan.MirrorsOff)), "\n")
}
