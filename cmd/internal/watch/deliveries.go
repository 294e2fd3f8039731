package watch

import (
	"errors"
	"io/fs"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
)

// A Delivery is a credential that is in hosts.toml, as far as the process that asks
// its registry got.
type Delivery struct {
	Registry string `json:"registry"`
	// Credential is its name in the map; "" if none was delivered yet.
	Credential string `json:"credential,omitempty"`
	// From is when it was fetched, and Until when it ends, zero if it names no end.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Unproved says that the registry answers without it too.
	Unproved bool `json:"unproved,omitempty"`
	// Fault says why the last try failed, "" if it did not.
	Fault string `json:"fault,omitempty"`
}

// ReadDeliveries reads the directory of delivered credentials. It returns those that the
// map wants, and no part of one; a nil wanted stands for a map that is not known. What
// cannot be read is a fault.
func ReadDeliveries(dir string, wanted map[string]bool) []Delivery {
	store := handover.New(dir)
	keys, err := store.Keys()
	if err != nil {
		return nil // the plan reports what waits for one
	}
	var list []Delivery
	seen := map[[2]string]bool{} // a changed definition has two keys for a moment
	for _, key := range keys {
		if wanted != nil && !wanted[key] {
			continue // of an earlier definition; it is removed soon
		}
		d := Delivery{Registry: key} // if no file says which one it is
		v, err := store.Value(key)
		switch {
		case err == nil:
			d = Delivery{Registry: v.Registry, Credential: v.Credential, From: v.From, Until: v.Until, Unproved: v.Unproved}
		case !errors.Is(err, fs.ErrNotExist):
			d.Fault = err.Error()
		}
		if f, err := store.Fault(key); err == nil {
			d.Registry, d.Fault = f.Registry, f.Reason
		}
		if at := [2]string{d.Credential, d.Registry}; !seen[at] {
			seen[at] = true
			list = append(list, d)
		}
	}
	return list
}

// Ended reports whether the credential has expired.
func (d Delivery) Ended(now time.Time) bool { return !d.Until.IsZero() && !now.Before(d.Until) }

// SetDeliveries stores what [ReadDeliveries] returned.
func (s *StatusStore) SetDeliveries(list []Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Deliveries = list
}

// labels returns the labels of a delivery's series.
func (d Delivery) labels() []string {
	return []string{"credential", d.Credential, "registry", d.Registry}
}

// exposeDeliveries adds which deliveries fail.
func exposeDeliveries(e *exposition, list []Delivery) {
	var failing []series
	for _, d := range list {
		value := 0.0
		if d.Fault != "" {
			value = 1
		}
		failing = append(failing, series{d.labels(), value})
	}
	e.family(gauge, "mirrorcred_delivery_failing",
		"1 if the last try to fetch a credential that is in hosts.toml, or to prove it at its registry, failed; else 0.", failing)
}
