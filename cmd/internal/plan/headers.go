package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// headers returns the sources with a header whose value cannot be read, as faults, and
// has their namespaces stay as they are. The others go on.
func headers(d *Desired, unread map[string]error, blocked map[string]bool) share {
	var s share
	for i, m := range d.Map.Mirrors {
		var faults []string
		for _, t := range m.Targets {
			for _, h := range t.Settings.Header {
				err := unread[h.Source()]
				if err == nil {
					continue
				}
				if text := fmt.Sprintf("%s:%d: header %s of %q: %v", d.MapFile, cmp.Or(t.Line("header"), m.Line), h.Name, t, err); !slices.Contains(faults, text) {
					faults = append(faults, text)
				}
			}
		}
		if len(faults) > 0 {
			s.faults = append(s.faults, Pending{Source: m.Source.String(), Reason: strings.Join(faults, "; and ")})
			blocked[d.Files[i].Namespace] = true
		}
	}
	return s
}
