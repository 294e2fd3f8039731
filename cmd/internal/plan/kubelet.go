package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// NoImage matches nothing. mirrorcred's provider keeps it when the last source is gone,
// because a kubelet does not start if its configuration matches no image.
const NoImage = "mirrorcred.invalid"

// A Memo remembers the version of the kubelet's files in which mirrorcred's providers were
// found to be right, so that a long file is not parsed again at each run.
type Memo struct {
	File     string `json:"file,omitempty"`     // hash of the kubelet's files
	Provider string `json:"provider,omitempty"` // hash of mirrorcred's providers
}

// A configuration is the share of the kubelet's configuration: how it changes, and
// what the other parts have to know of it.
type configuration struct {
	share
	// wants are mirrorcred's providers as the map has them, nil if that does not count
	// now.
	wants []Entry
	// provided is what mirrorcred's providers were, from when on.
	provided []provided
	memo     Memo
	made     bool // as in [State]
	// mapped are the mirrors that the plugin is told now, if it is told any.
	mapped map[string]string
	// rejected is the hash of what the kubelet did not start with, if that is
	// what the map asks for, else "".
	rejected  string
	audiences []string
	// files are the kubelet's files after the change, nil if there is none.
	files map[string][]byte
	// unsettled says why the file is left alone for now, and settles is the time after
	// which it may have settled.
	unsettled fault.Fault
	settles   time.Duration
}

// isRejected reports whether the kubelet did not start with what the map asks for.
func (next configuration) isRejected() bool { return next.rejected != "" && next.unsettled.None() }

// configure returns the share of the kubelet's configuration as the map wants it. Its
// questions are in the share, even if there is an error.
func configure(c *configuring) (configuration, error) {
	next := configuration{provided: c.seen.State.Provided}
	own, err := c.plugin.entries(c)
	next.questions, next.made, next.mapped = own.questions, own.made, own.mapped
	if err != nil || own.none() {
		return next, err
	}
	if len(own.wanted) > 0 {
		a, open := c.seen.ask(aboutProgram(c.Map, c.plugin))
		if next.questions = append(next.questions, open...); a.Err != nil {
			return next, a.Err
		}
	}
	links, err := c.plugin.links(c, own.wanted)
	if next.share = next.share.and(links); err != nil {
		return next, err
	}
	if next.wants = newEntries(own.wanted); next.wants == nil {
		next.wants = []Entry{} // the entry that is changed is not mirrorcred's any more
	}
	hash, err := hashProviders(slices.Concat(own.desired.Providers, own.desired.Shared))
	if err != nil {
		return next, err
	}
	next.memo = Memo{HashFiles(c.seen.Kubelet.Files), hash}
	state := c.seen.State
	if next.memo == state.Memo {
		return next, nil
	}
	if hash == state.Rejected && !c.Retry {
		next.memo, next.rejected = Memo{}, state.Rejected
		return next, nil
	}
	if last, ok := state.lastProvided(); ok && !sameEntries(c.seen.entries(), last.Entries) {
		// Another program wrote the file, and a kubelet may have started since.
		next.provided = nil
	}
	return changeFile(c, next, own.desired)
}

// changeFile is [configure] for the file with mirrorcred's providers in it.
func changeFile(c *configuring, next configuration, desired kubeletconfig.Desired) (configuration, error) {
	name, data, err := mergeProviders(c.Map.Kubelet.Config, c.seen.Kubelet, desired)
	if err != nil {
		return next, c.faults(err)
	}
	old := c.seen.Kubelet.Files[name]
	if string(old) == string(data) {
		return next, nil
	}
	next.provided, err = afterOtherWriter(c.seen, c.now.Boot, next.provided)
	if err != nil {
		return next, err
	}
	if slices.ContainsFunc(desired.Providers, handsOnTokens) {
		open, err := checkVersion(c)
		if next.questions = append(next.questions, open...); err != nil {
			return next, err
		}
		next.audiences = newAudiences(desired.Providers, c.seen.entries())
	}
	place := c.Map.Kubelet.Config
	if c.seen.Kubelet.Dir {
		place = path.Join(place, name)
	}
	next.changes = append(next.changes, Change{Stage: StageKubelet, Path: place, Old: old, New: data, Mode: c.seen.Kubelet.Mode})
	next.files = maps.Clone(c.seen.Kubelet.Files)
	next.files[name] = data
	next.memo.File = HashFiles(next.files)
	return next, nil
}

// mergeProviders returns the file to write with mirrorcred's providers in it.
func mergeProviders(config string, seen KubeletFiles, desired kubeletconfig.Desired) (name string, data []byte, err error) {
	if seen.Dir {
		return seen.Reader.Dir(seen.Files, desired)
	}
	name = path.Base(config)
	data, err = seen.Reader.Config(seen.Files[name], desired)
	return name, data, err
}

func hashProviders(list []kubeletconfig.Provider) (string, error) {
	data, err := json.Marshal(list)
	return hosts.Hash(data), err
}

// HashFiles returns a hash of the kubelet's files.
func HashFiles(files map[string][]byte) string {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = fmt.Appendf(all, "%q %s\n", name, hosts.Hash(files[name]))
	}
	return hosts.Hash(all)
}
