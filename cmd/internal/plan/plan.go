// Package plan decides what must change on a node for it to match its mirror map,
// in which order, and what must wait.
//
// It is pure. [Make] takes what is desired (the map, and the files rendered for
// it), what was observed on the node and what time it is, and returns a plan: a
// list of changes in their order, and the sources that are pending, draining,
// held or in conflict, each with the reason. If a plan needs something that is too
// costly to observe each time, it asks for that with a [Question].
//
// Each part of the planning is a function that returns its share of the plan, and
// Make puts the shares together. A part sees only its arguments:
//
//   - the tree (hosts_dir), after mirrorcred's files were carried over from an old
//     hosts_dir (move.go), and other programs' files in it (conflict.go);
//   - the removals that are held (held.go);
//   - the kubelet's configuration, which depends on these two (kubelet.go) and on
//     the plugin that the map names (plugin.go);
//   - what each running kubelet has read of that configuration (readby.go);
//   - each source, which depends on all of these (source.go, drain.go, expose.go,
//     and returned.go for one that was removed and comes back), and the sources that
//     are no longer in the map (removed.go).
//
// Package node observes and carries out. Start at [Make].
package plan

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A Plan is what must change on a node for it to match its map, and what cannot
// change yet. [Make] makes it and [Plan.CarryOut] carries it out; a dry run shows the
// same value.
type Plan struct {
	// Changes are made stage by stage, in this order.
	Changes []Change `json:"changes"`
	// Pending are sources that wait for the kubelet. Their pulls go where they
	// went before.
	Pending []Pending `json:"pending"`
	// Draining are removed sources whose last pulls may still come.
	Draining []Pending `json:"draining"`
	// Held are removed sources that stay as they are for now because the caller
	// asked for that; see ApplyUnless in cmd/internal/node.
	Held []Pending `json:"-"`
	// Conflicts are files of other programs in the place of what the map wants.
	Conflicts []Conflict `json:"conflicts"`
	// Faults are sources that cannot match the map because of a fault of their own,
	// such as a CA file without a certificate. They stay as they are, and the other
	// sources are applied.
	Faults []Pending `json:"faults"`
	// Warnings are about what makes pulls fail although the node matches its map. They
	// do not change the exit code, because another program or a later step may still
	// bring what is missing.
	Warnings []doctor.Finding `json:"warnings"`
	// Loss says why containerd will stop reading the tree when it is restarted, "" if
	// it will not. Until then the node matches the map.
	Loss string `json:"next_start,omitempty"`
	// LossWhy is the same in its parts.
	LossWhy fault.Fault `json:"next_start_why,omitzero"`
	// Stopped says why the plugin returns no credentials now although there is nothing to
	// change for it, "" if it answers. "mirrorcred apply" lets it answer again. It is
	// known of a dry run only.
	Stopped string `json:"plugin_stopped,omitempty"`
	// Sources is the number of sources in the map.
	Sources int `json:"sources"`
	// NeedsRestart says that some pending or draining sources wait for a restart of
	// the kubelet.
	NeedsRestart bool `json:"needs_kubelet_restart"`
	// Notes are about what is valid in the map but may be a mistake.
	Notes []string `json:"notes"`
	// Generation names the version of the map: the beginning of its hash.
	Generation string `json:"-"`
	// AuditLog is where the plugin logs its runs, as in [mirror.Kubelet].
	AuditLog string `json:"-"`
	// Credentials are the names of the map's credentials, and Lifetimes say when some
	// of them end.
	Credentials []string          `json:"-"`
	Lifetimes   []doctor.Lifetime `json:"-"`
	// NewAudiences are the audiences of pods' tokens that the kubelet requests from
	// this plan on. The cluster must allow its nodes to request them.
	NewAudiences []string `json:"new_token_audiences,omitempty"`

	// Routed says that there are routes: the plugin may be run on the node.
	Routed   bool            `json:"-"`
	Wanted   map[string]bool `json:"-"` // the namespaces of the map
	HostsDir string          `json:"-"`
	BinDir   string          `json:"-"`
	// KubeletConfig is the kubelet's file or directory of providers.
	KubeletConfig string   `json:"-"`
	remembered    State    // what is remembered
	Next          State    `json:"-"` // what to remember; From and Since of what is new are set when it is done
	memo          Memo     // of the kubelet's configuration as it will be
	entries       []Entry  // mirrorcred's providers; nil if nothing is known of them
	Wants         []Entry  `json:"-"` // mirrorcred's providers as the map has them
	withdraw      []string // namespaces whose drain begins
	ended         []string // namespaces whose drain ends with this plan
	lasting       []string // namespaces whose routes forget a credential that does not expire
	Leftovers     []string `json:"-"` // of a killed run, to be removed first
	// Settles is the time after which a file that another program is writing may have
	// settled; 0 if there is no such file.
	Settles time.Duration `json:"-"`
	// Ends is when the next credential in hosts.toml expires, after which another plan is
	// due; the zero time if none will.
	Ends time.Time `json:"-"`
	// Refused are the namespaces in which something could not be changed.
	Refused map[string]bool `json:"-"`
}

// A Change is one file or directory to write or to remove.
type Change struct {
	Stage Stage  `json:"stage"`
	Path  string `json:"path"` // on the node, without its root
	Old   []byte `json:"-"`    // nil if there was none
	New   []byte `json:"-"`    // nil if it is removed

	Mode   fs.FileMode `json:"-"`
	secret bool        // headers in it, before or after, are not to be shown
	Dir    bool        `json:"-"` // the directory of the file is new, or goes with it
	Save   bool        `json:"-"` // Old is another program's and is kept elsewhere
	// BackUp is another program's directory that the change overrides, and of which a
	// copy is kept; "" if there is none.
	BackUp string `json:"-"`
	Link   bool   `json:"-"` // it is a symbolic link, and Old and New are where it leads
}

// A Stage is a step of a plan. It begins once the stage before it would survive a
// power cut.
type Stage string

// The stages in their order. Routes come before what containerd reads, so that a
// mirror is never in force without its credential. The route of a namespace is
// withdrawn some time before the namespace is removed. If the source comes back to the
// map meanwhile, the kubelet's configuration names it again before its route answers.
const (
	StageCarry   Stage = "carry"   // copies of the files in the previous hosts_dir
	StageRoutes  Stage = "routes"  // what the plugin may return from now on
	StageKubelet Stage = "kubelet" // the kubelet's configuration
	StageAnswer  Stage = "answer"  // withdrawn routes that answer again
	StageHosts   Stage = "hosts"   // what containerd reads
	StageRemove  Stage = "remove"  // namespaces whose drain is over
	StageForget  Stage = "forget"  // what the plugin may no longer return
)

// Stages are all stages, in their order.
var Stages = []Stage{StageCarry, StageRoutes, StageKubelet, StageAnswer, StageHosts, StageRemove, StageForget}

// Pending is a source that does not match the map yet, and why.
type Pending struct {
	Source string `json:"source"`
	Reason string `json:"reason"` // Why in one line
	// Why is the reason, with what to do and what happens until then. Its name is that
	// of the finding that "mirrorcred check" reports, "" for an ordinary one.
	Why fault.Fault `json:"why"`
	// Warned says that a warning of the plan says the same, and what to do.
	Warned bool `json:"-"`
	// ofFile is as in [pendingReason].
	ofFile bool
}

// NewPending returns a source that does not match the map, and why.
func NewPending(source string, why fault.Fault) Pending {
	return Pending{Source: source, Reason: why.Whole(), Why: why}
}

// A Conflict is a file of another program where the map wants one of mirrorcred's.
type Conflict struct {
	Path   string `json:"path"`
	Reason string `json:"reason"` // Why in one line
	// Why is the reason, with what to do and what happens until then. Its name is as in
	// [Pending].
	Why fault.Fault `json:"why"`
}

// NewConflict returns a conflict at a path, and why.
func NewConflict(path string, why fault.Fault) Conflict { return Conflict{path, why.Error(), why} }

// sortChanges puts changes in the order of their stages.
func sortChanges(changes []Change) {
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Stages, a.Stage), slices.Index(Stages, b.Stage)),
			// "*" comes last, so it never serves a source that has its own mirror.
			cmp.Compare(a.rank(), b.rank()),
		)
	})
}

func (c Change) rank() int {
	if (c.Stage == StageHosts || c.Stage == StageCarry) && path.Base(path.Dir(c.Path)) == hosts.Default {
		return 1
	}
	return 0
}

// MirrorsOff is what it means for a node if containerd does not read the tree.
const MirrorsOff = "mirrors stay off on this node: the plugin returns no credential for them"
