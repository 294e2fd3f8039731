package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// headers returns the sources with a header whose value cannot be read, as faults, and
// has their namespaces stay as they are. The others go on.
func headers(d *Desired, unread map[string]error, blocked map[string]bool) share {
	var s share
	for i, m := range d.Map.Mirrors {
		var faults []fault.Fault
		for _, t := range m.Targets {
			for _, h := range t.Settings.Header {
				err := unread[h.Source()]
				if err == nil {
					continue
				}
				why := *fault.Of(err)
				why.What, why.Where = fmt.Sprintf("%s:%d: header %s of %q: %s", d.MapFile, cmp.Or(t.Line("header"), m.Line), h.Name, t, why.Seen()), ""
				if why.Found = ""; !slices.Contains(faults, why) {
					faults = append(faults, why)
				}
			}
		}
		if len(faults) > 0 {
			s.faults = append(s.faults, NewPending(m.Source.String(), together(faults)))
			blocked[d.Files[i].Namespace] = true
		}
	}
	return s
}
