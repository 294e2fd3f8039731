package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// A state is what the manager remembers from one run to the next. All of it
// can be lost: the next run then waits longer than it has to.
type state struct {
	// Provided is what our provider in the kubelet's configuration matched,
	// from when on; the newest is last. A kubelet has what was there when it
	// started.
	Provided []provided `json:"provided,omitempty"`
	// Drains are the removed mirrors whose hosts.toml still stands, by
	// namespace.
	Drains map[string]drain `json:"drains,omitempty"`
	// Memo spares reading the kubelet's configuration again.
	Memo memo `json:"memo,omitzero"`
	// Rejected is the hash of a provider of ours that the kubelet did not
	// come up with.
	Rejected string `json:"rejected,omitempty"`
}

// A provided is one state of our provider in the kubelet's configuration.
type provided struct {
	From  Moment   `json:"from"`
	Match []string `json:"match"`
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
	return len(s.Provided) == 0 && len(s.Drains) == 0 && s.Memo == memo{}
}

// matchedBy returns what our provider matches for a kubelet that started at
// the moment, nil where it cannot have read our configuration.
func (s state) matchedBy(started Moment) []string {
	for _, p := range slices.Backward(s.Provided) {
		if p.From.before(started) {
			return p.Match
		}
	}
	return nil
}

// provide records what the configuration matches from now on, and forgets what
// no kubelet that runs can have read.
func (s *state) provide(match []string, now Moment, kubelets []process) {
	if last := len(s.Provided) - 1; last < 0 || !slices.Equal(s.Provided[last].Match, match) {
		s.Provided = append(s.Provided, provided{now, match})
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
