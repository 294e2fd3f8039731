package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A State is what the manager remembers from one run to the next. All of it can be
// lost: the next run then waits longer than necessary and, while the map has a fault,
// assumes that containerd is in its usual place.
type State struct {
	// Containerd is the containerd table of the last good map. A state of an earlier
	// version has none.
	Containerd mirror.Containerd `json:"containerd,omitzero"`
	// Machine names the node that wrote it, "" if it has no name of its own yet: a
	// copy of its disk is another one.
	Machine string `json:"machine,omitempty"`
	// Provided has the states of mirrorcred's providers in the kubelet's configuration, each
	// with its beginning; the newest is last. A kubelet has the state of the time at
	// which it started.
	Provided []provided `json:"provided,omitempty"`
	// Made says that mirrorcred made the entry of [mirror.Stock].
	Made bool `json:"made,omitempty"`
	// Drains are the removed mirrors whose hosts.toml still stands, by
	// namespace.
	Drains map[string]Drain `json:"drains,omitempty"`
	// Lasting are the namespaces whose routes have forgotten a credential that does
	// not expire, and until when the plugin returned it; a zero moment means that the
	// time is not known yet.
	Lasting map[string]Moment `json:"lasting,omitempty"`
	// Adopted are other programs' directories that the operator has adopted, by name,
	// with a hash of the contents of each.
	Adopted map[string]string `json:"adopted,omitempty"`
	// Stamp identifies the kubelet's files as mirrorcred last wrote them, to tell whether
	// another program has changed them since.
	Stamp string `json:"stamp,omitempty"`
	// Kubelets are those that run, and what they have read.
	Kubelets []kubeletRead `json:"kubelets,omitempty"`
	// Memo saves parsing the kubelet's configuration again.
	Memo Memo `json:"memo,omitzero"`
	// Others are the other vendors' providers in the kubelet's configuration, which is
	// not parsed if Memo knows it.
	Others others `json:"others,omitzero"`
	// OldTrees are earlier values of hosts_dir. These directories may still have
	// mirrorcred's files.
	OldTrees []string `json:"old_trees,omitempty"`
	// Ready has the mirrors that wait, or waited, for their first target, by
	// [mirror.Mirror.ReadyKey], and since when.
	Ready map[string]Moment `json:"ready,omitempty"`
	// Rejected is the hash of the providers with which the kubelet did not start.
	Rejected string `json:"rejected,omitempty"`
}

// A provided is one state of mirrorcred's providers in the kubelet's file. If Entries
// is nil, the state is not known, since another program wrote the file.
type provided struct {
	From    Moment  `json:"from"`
	Entries []Entry `json:"entries"`
}

// A Drain is a withdrawn mirror with pulls that may still use its credential.
type Drain struct {
	Source string `json:"source"`
	Since  Moment `json:"since"` // when its route was withdrawn
}

// Encode returns the state as it is on disk: JSON, which people may read.
func (s State) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	return append(data, '\n'), nil
}

// Empty reports whether there is nothing to remember.
func (s State) Empty() bool {
	return s.Containerd == mirror.Containerd{} && len(s.Provided) == 0 && len(s.Drains) == 0 && len(s.Adopted) == 0 && len(s.Lasting) == 0 &&
		s.Memo == Memo{} && s.Others.File == "" && len(s.OldTrees) == 0 && len(s.Ready) == 0
}

// readBy returns mirrorcred's providers as read by a kubelet that started at a moment, nil if
// it cannot have read mirrorcred's configuration.
func (s State) readBy(started Moment) []Entry {
	for _, p := range slices.Backward(s.Provided) {
		if p.From.Before(started) {
			return p.Entries
		}
	}
	return nil
}

// lastProvided returns mirrorcred's providers as it last wrote them.
func (s State) lastProvided() (provided, bool) {
	for _, p := range slices.Backward(s.Provided) {
		if p.Entries != nil {
			return p, true
		}
	}
	return provided{}, false
}

// last returns the provider of that name in the last configuration that mirrorcred wrote, nil
// if there is none.
func (s State) last(name string) *Entry {
	if last, ok := s.lastProvided(); ok {
		return State{Provided: []provided{last}}.newest(name)
	}
	return nil
}

// newest returns the entry of that name that was recorded last, in whatever configuration
// that was; nil if there is none.
func (s State) newest(name string) *Entry {
	for _, p := range slices.Backward(s.Provided) {
		if i := slices.IndexFunc(p.Entries, func(e Entry) bool { return e.Name == name }); i >= 0 {
			return &p.Entries[i]
		}
	}
	return nil
}

// maxProvided is how many configurations are remembered if the running kubelets cannot
// be seen.
const maxProvided = 16

// Provide records mirrorcred's providers from now on, and forgets the states that no running
// kubelet can have read. If a kubelet may run unseen, it keeps at
// least the last 16.
func (s *State) Provide(entries []Entry, now Moment, kubelets []Process, unseen bool) {
	if last := len(s.Provided) - 1; last < 0 || !sameEntries(s.Provided[last].Entries, entries) {
		s.Provided = append(s.Provided, provided{now, entries})
	}
	keep := len(s.Provided) - 1
	if unseen {
		keep = max(0, len(s.Provided)-maxProvided)
	}
	for i := range s.Provided {
		for _, k := range kubelets {
			if s.Provided[i].From.Before(k.Started) && (i+1 == len(s.Provided) || !s.Provided[i+1].From.Before(k.Started)) {
				keep = min(keep, i)
			}
		}
	}
	s.Provided = s.Provided[keep:]
}

// nextTrees returns the directories that were hosts_dir before, given the one that is
// now.
func (s State) nextTrees(now string) []string {
	trees := slices.Clone(s.OldTrees)
	if old := s.Containerd.HostsDir; old != "" && !slices.Contains(trees, old) {
		trees = append(trees, old)
	}
	trees = slices.DeleteFunc(trees, func(dir string) bool { return dir == now })
	if len(trees) == 0 {
		return nil
	}
	return trees
}
