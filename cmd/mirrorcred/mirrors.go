package main

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A mirrorRow is one source of the map, or one that drains, as status lists it.
type mirrorRow struct {
	Source      string   `json:"source"`
	Targets     []string `json:"targets"`     // empty if it is not in the map any more
	Credentials []string `json:"credentials"` // their names; empty is anonymous
	// State is active, pending, draining, held, conflict, fault, changing for a source
	// that differs from the map and needs only an apply, or unknown if the map could
	// not be compared with the node.
	State string `json:"state"`
	// LastRun is when the plugin ran last for it, and Outcome is how that ended; zero
	// if its log does not say.
	LastRun time.Time     `json:"last_run,omitzero"`
	Outcome audit.Outcome `json:"last_outcome,omitempty"`
}

// mirrorRows returns a row for each source of the map and for each that drains; nil if
// the map cannot be read.
func mirrorRows(n *node.Node, todo plan.Plan, s watch.Status) []mirrorRow {
	m, err := n.ReadMap()
	if err != nil {
		return nil
	}
	states := map[string]string{}
	for state, list := range map[string][]plan.Pending{"pending": s.Pending, "held": s.Held, "draining": s.Draining, "fault": s.Faults} {
		for _, one := range list {
			states[one.Source] = state
		}
	}
	for _, c := range todo.Changes {
		if path.Base(c.Path) == hosts.FileName {
			if source := hosts.HostOf(path.Base(path.Dir(c.Path))); states[source] == "" {
				states[source] = "changing"
			}
		}
	}
	for _, c := range s.Conflicts {
		for _, dir := range []string{path.Base(c.Path), path.Base(path.Dir(c.Path))} {
			states[hosts.HostOf(dir)] = "conflict"
		}
	}
	usual := "active"
	if s.Fault != "" {
		usual = "unknown"
	}
	rows := make([]mirrorRow, 0, len(m.Mirrors))
	seen := map[string]bool{}
	for _, one := range m.Mirrors {
		row := mirrorRow{Source: one.Source.String(), Targets: []string{}, Credentials: one.CredentialNames(), State: usual}
		for _, t := range one.Targets {
			row.Targets = append(row.Targets, t.String())
		}
		if row.Credentials == nil {
			row.Credentials = []string{}
		}
		if state := states[row.Source]; state != "" {
			row.State = state
		}
		seen[row.Source] = true
		rows = append(rows, row)
	}
	for _, one := range slices.Concat(s.Draining, s.Held) {
		if !seen[one.Source] {
			seen[one.Source] = true
			rows = append(rows, mirrorRow{Source: one.Source, Targets: []string{}, Credentials: []string{}, State: states[one.Source]})
		}
	}
	addRuns(n, m, rows)
	return rows
}

// addRuns adds the last run of the plugin to each row, from its log if that is a file.
func addRuns(n *node.Node, m *mirror.Map, rows []mirrorRow) {
	file := m.Kubelet.AuditLog
	if file == "" {
		file = audit.DefaultFile
	}
	if !path.IsAbs(file) {
		return
	}
	at := map[string]int{}
	for i, row := range rows {
		at[row.Source] = i
	}
	log := audit.Open(input.NewRoot(n.Root), filepath.Join(n.Root, "/", file))
	defer log.Close()
	// A log that cannot be read has no runs; "mirrorcred events" says why.
	_ = log.Next(func(line []byte) error {
		e, ok := audit.Decode(line)
		if !ok || e.Source == "" {
			return nil
		}
		i, ok := at[e.Source]
		if !ok {
			if i, ok = at["*"]; !ok {
				return nil
			}
		}
		rows[i].LastRun, rows[i].Outcome = e.Time.Time, e.Outcome
		return nil
	})
}

// The widest columns of the table: with two blanks between them it has 80 columns.
const (
	widestSource     = 20
	widestTarget     = 22
	widestCredential = 10
)

// mirrors prints the table of the sources.
func (p *printer) mirrors(rows []mirrorRow) {
	if len(rows) == 0 {
		return
	}
	table := [][5]string{{"SOURCE", "TARGET", "CREDENTIAL", "STATE", "LAST RUN"}}
	for _, row := range rows {
		target, credential := "(removed)", ""
		if len(row.Targets) > 0 {
			target, credential = few(row.Targets), "anonymous"
		}
		if len(row.Credentials) > 0 {
			credential = few(row.Credentials)
		}
		last := "-"
		if !row.LastRun.IsZero() {
			outcome := string(row.Outcome)
			if row.Outcome == audit.Answered {
				outcome = "ok"
			}
			last = strings.TrimSpace(outcome + " " + ago(time.Since(row.LastRun)))
		}
		table = append(table, [5]string{cut(row.Source, widestSource), cut(target, widestTarget), cut(credential, widestCredential), row.State, last})
	}
	var width [5]int
	for _, cells := range table {
		for i, cell := range cells {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	p.printf("\n")
	for _, cells := range table {
		line := ""
		for i, cell := range cells {
			line += fmt.Sprintf("%-*s  ", width[i], cell)
		}
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
	p.printf("\n")
}

// few returns the first of a list and how many more there are.
func few(list []string) string {
	if len(list) > 1 {
		return fmt.Sprintf("%s +%d", list[0], len(list)-1)
	}
	return list[0]
}

// cut returns a text of at most so many characters.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// ago returns how long something is ago, in one unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
