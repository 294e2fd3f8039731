package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A state is what the manager remembers from one run to the next. All of it
// can be lost: the next run then waits longer than it has to, and takes
// containerd to be in its usual place while the map has a fault.
type state struct {
	// Containerd is what the last good map said of containerd. A state of an
	// earlier version has none.
	Containerd mirror.Containerd `json:"containerd,omitzero"`
	// Provided is what our providers in the kubelet's configuration were,
	// from when on; the newest is last. A kubelet has what was there when it
	// started.
	Provided []provided `json:"provided,omitempty"`
	// Made says that the entry of [mirror.Stock] was not there before us.
	Made bool `json:"made,omitempty"`
	// Drains are the removed mirrors whose hosts.toml still stands, by
	// namespace.
	Drains map[string]drain `json:"drains,omitempty"`
	// Memo spares reading the kubelet's configuration again.
	Memo memo `json:"memo,omitzero"`
	// Rejected is the hash of providers of ours that the kubelet did not
	// come up with.
	Rejected string `json:"rejected,omitempty"`
}

// A provided is one state of our providers in the kubelet's configuration.
type provided struct {
	From    Moment  `json:"from"`
	Entries []entry `json:"entries"`
}

// A drain is a mirror on its way out.
type drain struct {
	Source string `json:"source"`
	Since  Moment `json:"since"` // when its route was withdrawn
}

// readState returns the state, the zero one where there is none. One that is
// not whole counts as none: nothing depends on it but waiting.
func (n *Node) readState() (state, error) {
	data, err := os.ReadFile(n.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, describe(err)
	}
	var s state
	if json.Unmarshal(data, &s) != nil {
		return state{}, nil
	}
	return s, nil
}

func (s state) encode() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", stateFile, err)
	}
	return append(data, '\n'), nil
}

// empty reports whether there is nothing to remember.
func (s state) empty() bool {
	return s.Containerd == mirror.Containerd{} && len(s.Provided) == 0 && len(s.Drains) == 0 && s.Memo == memo{}
}

// readBy returns our providers as a kubelet has them that started at the
// moment, nil where it cannot have read our configuration.
func (s state) readBy(started Moment) []entry {
	for _, p := range slices.Backward(s.Provided) {
		if p.From.before(started) {
			return p.Entries
		}
	}
	return nil
}

// last returns the provider of that name in the last configuration that we
// wrote, nil where there is none.
func (s state) last(name string) *entry {
	if n := len(s.Provided); n > 0 {
		return state{Provided: s.Provided[n-1:]}.newest(name)
	}
	return nil
}

// newest is [state.last] in whatever configuration had it last.
func (s state) newest(name string) *entry {
	for _, p := range slices.Backward(s.Provided) {
		if i := slices.IndexFunc(p.Entries, func(e entry) bool { return e.Name == name }); i >= 0 {
			return &p.Entries[i]
		}
	}
	return nil
}

// provide records what our providers are from now on, and forgets what no
// kubelet that runs can have read.
func (s *state) provide(entries []entry, now Moment, kubelets []process) {
	if last := len(s.Provided) - 1; last < 0 || !sameEntries(s.Provided[last].Entries, entries) {
		s.Provided = append(s.Provided, provided{now, entries})
	}
	keep := len(s.Provided) - 1
	for i := range s.Provided {
		for _, k := range kubelets {
			if s.Provided[i].From.before(k.started) && (i+1 == len(s.Provided) || !s.Provided[i+1].From.before(k.started)) {
				keep = min(keep, i)
			}
		}
	}
	s.Provided = s.Provided[keep:]
}
