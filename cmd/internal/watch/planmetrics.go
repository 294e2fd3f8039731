package watch

// exposeMap adds which map is in force, and when its credentials expire.
func exposeMap(e *exposition, last lastPlan, deliveries []Delivery) {
	if last.mapHash != "" {
		e.info("mirrorcred_map_info",
			"Always 1; the label is the beginning of the SHA-256 of the map in force, and is the same on each node with that map.", "hash", last.mapHash)
		e.metric(gauge, "mirrorcred_map_changed_timestamp_seconds", "When the file of the map got this content.", seconds(last.mapChanged))
	}
	var ends, issued []series
	for _, l := range last.lifetimes {
		labels := []string{"credential", l.Credential}
		ends = append(ends, series{labels, seconds(l.Until)})
		if !l.From.IsZero() {
			issued = append(issued, series{labels, seconds(l.From)})
		}
	}
	for _, d := range deliveries {
		if !d.Until.IsZero() {
			ends = append(ends, series{d.labels(), seconds(d.Until)})
		}
		if !d.From.IsZero() {
			issued = append(issued, series{d.labels(), seconds(d.From)})
		}
	}
	e.family(gauge, "mirrorcred_credential_expiry_timestamp_seconds",
		"When a credential of the map expires, if its file has that time; the label is its name in the map, or the file of a client certificate. With a registry it is one that is in hosts.toml there and is renewed.", ends)
	e.family(gauge, "mirrorcred_credential_issued_timestamp_seconds", "When such a credential was issued, if its file has that time, or fetched.", issued)
}

// exposeArmed adds whether the plugin may return credentials; nothing if there are no
// routes, such as with another vendor's plugin.
func (m *Metrics) exposeArmed(e *exposition, last lastPlan) {
	if !last.routed {
		return
	}
	armed := 0.0
	if m.armed(last.hostsDir) {
		armed = 1
	}
	e.metric(gauge, "mirrorcred_armed", "1 if the plugin may return credentials: containerd reads the mirrors, as far as is known; else 0.", armed)
}

// CountRestart counts an attempt to restart the kubelet.
func (m *Metrics) CountRestart(outcome RestartOutcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restarts[string(outcome)]++
}
