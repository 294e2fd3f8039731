package plan

import (
	"time"
)

// A Moment is a point in time on one machine, independent of the wall clock, which
// may jump.
type Moment struct {
	Boot  string        `json:"boot"`  // the kernel's boot_id
	Since time.Duration `json:"since"` // time since that boot, suspends included, in nanoseconds
}

// Before reports whether m is before other. A moment of another boot is.
func (m Moment) Before(other Moment) bool {
	return m.Boot != other.Boot || m.Since < other.Since
}
