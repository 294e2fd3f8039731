package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A preview is a plan in the map's words: what becomes of each mirror.
type preview struct {
	rows                   []previewRow
	add, change, remove    int
	hosts, routes, kubelet int // files
}

// A previewRow is one mirror that changes.
type previewRow struct {
	sign       string // "+", "~" or "-"
	source     string
	targets    string // new ones, or "old -> new"
	credential string
}

// newPreview makes the preview of a plan from its changes.
func newPreview(todo plan.Plan) preview {
	var p preview
	names := map[string]string{} // credentials by namespace
	withdrawn := map[string]string{}
	for _, c := range todo.Changes {
		namespace, isRoute := strings.CutSuffix(path.Base(c.Path), ".json")
		switch {
		case path.Base(c.Path) == hosts.FileName:
			p.hosts++
			continue
		case !isRoute || c.Stage == plan.StageKubelet:
			p.kubelet++
			continue
		}
		p.routes++
		if r, err := route.Decode(c.New); err == nil {
			names[namespace] = credentialsOf(r)
			withdrawn[namespace] = r.Withdrawn
		}
	}
	done := map[string]bool{}
	for _, c := range todo.Changes {
		if path.Base(c.Path) != hosts.FileName {
			continue
		}
		namespace := path.Base(path.Dir(c.Path))
		done[namespace] = true
		p.addRow(c, hosts.HostOf(namespace), names[namespace])
	}
	for _, c := range todo.Changes {
		namespace, isRoute := strings.CutSuffix(path.Base(c.Path), ".json")
		if isRoute && !done[namespace] && withdrawn[namespace] != "" {
			done[namespace] = true
			p.remove++
			p.rows = append(p.rows, previewRow{sign: "-", source: hosts.HostOf(namespace), targets: "stops answering now; its hosts.toml goes once no pull can still use the credential"})
		}
	}
	return p
}

// addRow adds the row of a changed hosts.toml.
func (p *preview) addRow(c plan.Change, source, credentials string) {
	before, after := targetsOf(c.Old, source), targetsOf(c.New, source)
	row := previewRow{"~", source, before + " -> " + after, credentials}
	switch {
	case c.New == nil:
		p.remove++
		row = previewRow{sign: "-", source: source, targets: "no longer served by " + before}
	case c.Old == nil:
		p.add++
		row.sign, row.targets = "+", after
	case before == after:
		p.change++
		row.targets = after + " (other settings)"
	default:
		p.change++
	}
	p.rows = append(p.rows, row)
}

// targetsOf returns the registries in a hosts.toml as the map names them.
func targetsOf(data []byte, source string) string {
	endpoints, err := hosts.Read(data, source, hosts.Version{})
	if err != nil {
		return "the source itself"
	}
	var list []string
	for _, e := range endpoints {
		name := e.Host
		if e.Source {
			name = source
		}
		if e.Scheme != "https" {
			name = e.Scheme + "://" + name
		}
		if prefix, ok := strings.CutPrefix(e.Path, "/v2/"); ok {
			name += "/" + prefix
		} else if e.Path != "/v2" {
			name += e.Path
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}

// credentialsOf returns the credentials of a route's newest targets.
func credentialsOf(r route.Route) string {
	if len(r.Generations) == 0 {
		return ""
	}
	var names []string
	for _, t := range r.Generations[0].Targets {
		for _, c := range t.Credentials {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	if names == nil {
		return "anonymous"
	}
	return "credential " + strings.Join(names, ", ")
}

// mostRows is how many mirrors a preview lists.
const mostRows = 40

// print prints the preview: a line for each mirror, and how many files change, with
// where those are shown.
func (p preview) print(w io.Writer, todo plan.Plan, shownBy string) error {
	out := printer{w: w}
	shown := p.rows[:min(len(p.rows), mostRows)]
	source, targets := 0, 0
	for _, r := range shown {
		source = max(source, len(r.source))
		if r.credential != "" {
			targets = max(targets, len(r.targets))
		}
	}
	for _, r := range shown {
		line := fmt.Sprintf("%s %-*s  %-*s  %s", r.sign, source, r.source, targets, r.targets, r.credential)
		out.printf("%s\n", strings.TrimRight(line, " "))
	}
	if more := len(p.rows) - len(shown); more > 0 {
		out.printf("  and %d more\n", more)
	}
	if len(todo.Changes) == 0 {
		return out.err
	}
	if len(shown) > 0 {
		out.printf("\n")
	}
	restart := "no"
	if todo.NeedsRestart {
		restart = "yes; the pending sources are below"
	}
	out.printf("kubelet restart needed: %s\n", restart)
	out.printf("files: %d hosts.toml, %s, %d of the kubelet's (%s)\n", p.hosts, count(p.routes, "route"), p.kubelet, shownBy)
	return out.err
}

// counted is the last line of a dry run.
func (p preview) counted() string {
	return fmt.Sprintf("plan: %d to add, %d to change, %d to remove; nothing was changed", p.add, p.change, p.remove)
}
