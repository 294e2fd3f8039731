package plugin

import (
	"io"
	"testing"
	"time"
)

// TestBudget checks that a run ends by itself, with its reason, well before the
// kubelet ends it.
func TestBudget(t *testing.T) {
	o, err := parseFlags([]string{"/azure.json"}, io.Discard)
	if err != nil || o.timeout != 45*time.Second {
		t.Errorf("a run is given %s, %v; want 45s", o.timeout, err)
	}
}
