package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// printOnce returns a function that prints each change that is made, but a file that is
// changed again only once: a route is written before its mirror changes, and after that
// without what it returned before.
func printOnce(w io.Writer) func(plan.Change) {
	printed := map[string]bool{}
	return func(c plan.Change) {
		if c.New == nil || !printed[c.Path] {
			printChange(w, c)
		}
		printed[c.Path] = true
	}
}

// printChange prints a change that was made.
func printChange(w io.Writer, c plan.Change) {
	what := "changed"
	switch {
	case c.New == nil:
		what = "removed"
	case c.Old == nil:
		what = "created"
	}
	fmt.Fprintf(w, "%-9s%s\n", what, c.Path)
}

// printRest prints for a person what remains to do, after the diff or the
// changes.
func printRest(w io.Writer, todo plan.Plan, dryRun bool) error {
	p := printer{w: w}
	for _, audience := range todo.NewAudiences {
		p.printf("%-9spods with a service account need a cluster rule before they get this credential: allow the group system:nodes the verb request-serviceaccounts-token-audience on the resource %q; run \"mirrorcred rbac | kubectl apply -f -\" (docs/credentials.md)\n", "note", audience)
	}
	p.undone(9, todo.Pending, todo.Draining, todo.Conflicts)
	p.loss(9, todo.LossWhy, todo.Loss)
	if todo.Stopped != "" {
		p.printf("%-9sthe plugin returns no credentials until \"mirrorcred apply\": %s\n", "stopped", todo.Stopped)
	}
	p.pending(9, "fault", todo.Faults)
	p.warnings(9, todo.Warnings)
	for _, note := range todo.Notes {
		p.printf("%-9s%s\n", "note", note)
	}
	switch {
	case outcome(todo, dryRun) == nil:
		p.printf("in sync: %s\n", count(todo.Sources, "source"))
	case dryRun:
		p.printf("%s\n", newPreview(todo).counted())
	default:
		p.printf("not in sync: %s\n", rest(todo))
	}
	return p.err
}

// rest says in a few words what keeps a node from being in sync.
func rest(todo plan.Plan) string {
	pending := len(todo.Pending)
	if todo.Loss != "" {
		pending++
	}
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{pending, "pending"}, {len(todo.Draining), "draining"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if n := len(todo.Conflicts); n > 0 {
		parts = append(parts, count(n, "conflict"))
	}
	if n := len(todo.Faults); n > 0 {
		parts = append(parts, count(n, "fault"))
	}
	return strings.Join(parts, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A printer keeps the first error of a writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// reason prints what something is about and why, after a column of the given width, and
// below it what to do and what happens until then.
func (p *printer) reason(width int, label, about string, why fault.Fault) {
	text := why.Text()
	if about != "" {
		text = about + ": " + text
	}
	columns := widthOf(p.w)
	why.Where, why.Found = "", ""
	lines := fold(fmt.Sprintf("%-*s", width, label), text, columns)
	for _, line := range append(lines, parts(why, strings.Repeat(" ", width), columns)...) {
		p.printf("%s\n", line)
	}
}

// undone prints what does not match the map yet, after a column of the given width.
func (p *printer) undone(width int, pending, draining []plan.Pending, left []plan.Conflict) {
	p.pending(width, "pending", pending)
	p.pending(width, "draining", draining)
	for _, one := range left {
		p.reason(width, "conflict", one.Path, inParts(one.Why, one.Reason))
	}
}

// inParts returns a reason in its parts. A watcher of an earlier version reports it in
// one line only.
func inParts(why fault.Fault, line string) fault.Fault {
	if why.None() {
		why.What = line
	}
	return why
}

// loss prints why containerd will not read the tree after its next start.
func (p *printer) loss(width int, why fault.Fault, line string) {
	if why = inParts(why, line); !why.None() {
		why.Found = why.Seen()
		p.reason(width, "pending", "containerd reads the mirrors now, but will not after its next start", why)
	}
}

// warnings prints what will make pulls fail although the node is in sync.
func (p *printer) warnings(width int, list []doctor.Finding) {
	for _, w := range list {
		p.reason(width, "warning", w.Where, fault.Fault{What: w.Text, Fix: w.Repair})
	}
}

// mostAlike is how many sources with the same reason have a line each. More share one:
// a file that a registry needs may be missing for all of its sources.
const mostAlike = 3

// pending prints sources that do not match the map, and why.
func (p *printer) pending(width int, what string, list []plan.Pending) {
	alike := map[string][]string{} // sources by reason
	for _, one := range list {
		alike[one.Reason] = append(alike[one.Reason], one.Source)
	}
	for _, one := range list {
		sources := alike[one.Reason]
		switch {
		case len(sources) <= mostAlike:
			p.reason(width, what, one.Source, inParts(one.Why, one.Reason))
		case one.Source == sources[0]:
			p.reason(width, what, fmt.Sprintf("%s and %d more", strings.Join(sources[:mostAlike], ", "), len(sources)-mostAlike), inParts(one.Why, one.Reason))
		}
	}
}
