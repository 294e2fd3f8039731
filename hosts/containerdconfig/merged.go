package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// evaluate merges the files by the rules of the line. It changes none of them.
func (l *load) evaluate(files []*file) (Config, error) {
	if l.line.isOne() {
		return l.evaluateOne(files)
	}
	return l.evaluateTwo(files)
}

// A merged is what is left of all files once they are merged.
type merged struct {
	version            int
	versionAt          Position // of what names it; zero if no file does
	disabled, required []entry
	timeouts           []entry
}

// An entry is a string of a list or a map, with the file that has it.
type entry struct {
	name, value string
	at          Position
}

func (m *merged) addLists(f *file) {
	add := func(list []entry, key string, names []string) []entry {
		for _, name := range names {
			list = append(list, entry{name: name, at: Position{File: f.path, Line: f.lines(key)}})
		}
		return list
	}
	m.disabled = add(m.disabled, "disabled_plugins", f.disabled)
	m.required = add(m.required, "required_plugins", f.required)
	for _, name := range slices.Sorted(maps.Keys(f.timeouts)) {
		at := Position{File: f.path, Line: f.lines("timeouts", name), Table: "timeouts"}
		m.timeouts = slices.DeleteFunc(m.timeouts, func(e entry) bool { return e.name == name })
		m.timeouts = append(m.timeouts, entry{name, f.timeouts[name], at})
	}
}

// whyDisabled says which of the plugins is disabled, or nil. No import can enable
// one again.
func (l *load) whyDisabled(disabled []entry, plugins ...string) *Reason {
	for _, e := range disabled {
		for _, p := range plugins {
			if e.name == p {
				return l.reason(e.at, "the CRI plugin is disabled, so the kubelet can pull no image", fmt.Sprintf("remove %q from disabled_plugins", p), fmt.Sprintf("disables the CRI plugin %q", p)).named(CRIDisabled)
			}
		}
	}
	return nil
}

// checkRequired refuses a CRI that does not load and is required.
func (l *load) checkRequired(m *merged, noCRI *Reason, plugins ...string) error {
	if noCRI == nil {
		return nil
	}
	for _, e := range m.required {
		for _, p := range plugins {
			if e.name == p {
				at := Position{File: noCRI.File, Line: noCRI.Line, Table: noCRI.Table}
				return l.noStart(at, noCRI.Repair, noCRI.Text+", and "+l.name(e.at.File)+" requires it")
			}
		}
	}
	return nil
}

func (l *load) checkTimeouts(m *merged) error {
	for _, e := range m.timeouts {
		if _, err := time.ParseDuration(e.value); err != nil {
			return l.noStart(e.at, "write one like \"10s\"", fmt.Sprintf("has %s = %q, which is not a duration", e.name, e.value))
		}
	}
	return nil
}
