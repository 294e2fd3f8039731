package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// certificates returns the faults and warnings about the files that ca and client
// name. It also returns the namespaces that stay as they are because containerd would
// refuse a file that their new hosts.toml names: no pull of that source would work,
// and the other sources are not affected. Below another root a file may arrive with
// the machine, so a missing one is only a warning there; its source still waits.
func certificates(d *Desired, problems [][][]tlsfiles.Problem, t tree) (share, map[string]bool) {
	var s share
	blocked := map[string]bool{}
	warned := map[string]bool{} // a file is warned of once, whichever source uses it
	for i, m := range d.Map.Mirrors {
		var faults []fault.Fault
		var missing []string
		isBlocked := false
		for at, list := range problems[i] {
			for _, one := range list {
				p := certificateProblem{d.MapFile, m.Targets[at], one}
				switch {
				case one.Expired, one.Missing && d.Elsewhere:
					if one.Missing {
						isBlocked, missing = true, append(missing, fmt.Sprintf("%s %q", one.Key, one.File))
					}
					if key := p.where() + one.File; !warned[key] {
						warned[key] = true
						s.warnings = append(s.warnings, p.warning())
					}
				default:
					isBlocked = true
					text, repair := p.text()
					if why := (fault.Fault{What: p.where() + ": " + text, Fix: repair}); !slices.Contains(faults, why) {
						faults = append(faults, why)
					}
				}
			}
		}
		if len(faults) > 0 {
			s.faults = append(s.faults, NewPending(m.Source.String(), together(faults)))
		}
		if f := d.Files[i]; isBlocked && !t.namespaces[f.Namespace].Holds(f) {
			blocked[f.Namespace] = true
			if len(missing) > 0 {
				waits := NewPending(m.Source.String(), fault.Fault{What: "waits for " + strings.Join(slices.Compact(missing), " and ")})
				waits.Warned = true
				s.pending = append(s.pending, waits)
			}
		}
	}
	return s, blocked
}

// A certificateProblem is what is wrong with a file that a target of the map names.
type certificateProblem struct {
	mapFile string
	target  mirror.Target
	tlsfiles.Problem
}

// where returns the place in the map.
func (p certificateProblem) where() string {
	return fmt.Sprintf("%s:%d", p.mapFile, p.target.Line(p.Key))
}

// text says what is wrong with the file, and what to do.
func (p certificateProblem) text() (text, repair string) {
	text, repair = fault.Split(p.Text)
	return fmt.Sprintf("%s %q of %q %s", p.Key, p.File, p.target, text), repair
}

// certificateNames are the findings about the files of a setting.
var certificateNames = map[string]struct{ notValid, missing string }{
	"ca":     {doctor.CANotValid, doctor.CAMissing},
	"client": {doctor.ClientNotValid, doctor.ClientMissing},
}

// warning returns the finding about a problem that does not prevent a source from
// being set up, or only delays it.
func (p certificateProblem) warning() doctor.Finding {
	text, repair := p.text()
	f := doctor.Finding{Name: CertificateFinding(p.Problem), Where: p.where(), Text: text + ", so pulls through it fail", Repair: repair}
	if p.Missing {
		f.Text, f.Repair = text+", so its sources are not set up yet", "put it there, and they are set up by the next \"mirrorcred apply\" or \"mirrorcred watch\""
	}
	return f
}

// CertificateFinding returns the name of the finding about a file that a setting
// names.
func CertificateFinding(one tlsfiles.Problem) string {
	if one.Missing {
		return certificateNames[one.Key].missing
	}
	return certificateNames[one.Key].notValid
}
