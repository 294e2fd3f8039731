package installer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReplaceMap sets up a node on which lies a map that it refuses, and that an earlier
// courier delivered: the pod's map takes its place, so that the pod gets as far as its
// own courier. It does not if it has a fault itself, or while another courier runs.
func TestReplaceMap(t *testing.T) {
	const refused, repaired = "version = 1\n# refused\n", "version = 1\n# repaired\n"
	twice := []string{"reload", "restart mirrorcred-bootstrap.service", "reload", "restart mirrorcred-bootstrap.service"}
	for name, c := range map[string]struct {
		pod, there string
		courier    bool   // of another pod runs
		fault      string // "" if the node is set up in the end
		calls      []string
	}{
		"repaired":           {repaired, refused, false, "", twice},
		"gone":               {repaired, "", false, "", twice},
		"the same":           {refused, refused, false, "it refuses", twice[:2]},
		"a fault of its own": {"version = 1\nmirrors = []\n", refused, false, `map:2: unknown key "mirrors"`, twice[:2]},
		"another courier":    {repaired, refused, true, "it refuses", twice[:2]},
	} {
		p := newPod(t)
		p.write(p.Map, c.pod)
		lock, there := filepath.Join(p.Root, delivered, "courier.lock"), filepath.Join(p.Root, delivered, "mirrors.toml")
		p.write(lock, "{}\n")
		if c.there != "" {
			p.write(there, c.there)
		}
		if c.courier {
			f, err := os.Open(lock)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}
		p.bus.setUp = func() error {
			if data, err := os.ReadFile(there); err != nil || string(data) == refused {
				return errors.New("it refuses the map")
			}
			return nil
		}
		err := p.Install(t.Context())
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v; want %q", name, err, c.fault)
		}
		if !slices.Equal(p.bus.calls, c.calls) {
			t.Errorf("%s: systemd was asked for %q; want %q", name, p.bus.calls, c.calls)
		}
		want := c.there
		if c.fault == "" {
			want = repaired
		}
		if data, _ := os.ReadFile(there); string(data) != want {
			t.Errorf("%s: the node's map is %q; want %q", name, data, want)
		}
	}
}
