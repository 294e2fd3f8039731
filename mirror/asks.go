package mirror

import "slices"

// AsksRegistries reports whether registries must be asked for the map, by a process
// that has the network: it has credentials that stand in hosts.toml, or mirrors that wait
// for their first target.
func (m *Map) AsksRegistries() bool {
	return slices.ContainsFunc(m.Mirrors, func(one Mirror) bool {
		return one.Ready > 0 || slices.ContainsFunc(one.Targets, func(t Target) bool {
			_, delivers := t.Delivery()
			return delivers
		})
	})
}
