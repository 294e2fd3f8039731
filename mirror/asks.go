package mirror

import "slices"

// Delivers reports whether the map has a credential that is in hosts.toml.
func (m *Map) Delivers() bool {
	return slices.ContainsFunc(m.Mirrors, func(one Mirror) bool {
		return slices.ContainsFunc(one.Targets, func(t Target) bool {
			_, delivers := t.Delivery()
			return delivers
		})
	})
}
