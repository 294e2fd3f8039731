package plan

import (
	"io/fs"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// Observed is what is on a node before anything is changed.
type Observed struct {
	Namespaces map[string]Namespace // directories below hosts_dir
	Routes     map[string][]byte    // route files by namespace
	// Decode decodes a route file; nil is [route.Decode].
	Decode func(data []byte) (route.Route, error)
	// ClosedRoutes are those that no other user can read.
	ClosedRoutes map[string]bool
	Kubelet      KubeletFiles
	Links        map[string]bool // in bin_dir, those to the plugin that are mirrorcred's
	State        State
	// Leftovers are what a killed run was building.
	Leftovers []string

	// Loss says why containerd will stop reading the tree when it is restarted; nothing
	// if it will not.
	Loss fault.Fault
	// Rancher are the directories that k3s or RKE2 will write.
	Rancher  map[string]Naming
	Warnings []doctor.Finding // of what could not be observed
	// OldHostsDir is the previous hosts_dir if the map has another now, else "".
	OldHostsDir string
	// OldNamespaces are the namespaces in the previous hosts_dir.
	OldNamespaces map[string]Namespace
	// Obstacles say why nothing can be changed in a namespace, for the namespaces
	// that may have to change.
	Obstacles map[string]string
	// Certificates are the problems of the files that the targets of each mirror
	// name. Clients are the client certificates among these files.
	Certificates [][][]tlsfiles.Problem
	Clients      []tlsfiles.Client
	// HeaderFaults say why the value of a header cannot be read, by the file that
	// it is in. Files rendered with such a header must not be written.
	HeaderFaults map[string]error
	// Ready are the mirrors whose first target has answered since the machine started,
	// by [mirror.Mirror.ReadyKey].
	Ready map[string]bool
	// Deliveries are the credentials that were handed over for hosts.toml, by their
	// keys ([mirror.Target.Delivery]).
	Deliveries map[string]Delivery
	// Containerd is the version of the containerd that runs, or of the one that is
	// installed; the zero Version if that is not known.
	Containerd hosts.Version
	// Running are the kubelets that run. Unseen says why there may be another one,
	// and KubeletFault why mirrorcred could not look for them.
	Running      []Process
	Unseen       string
	KubeletFault error
	// ClockSet says that the wall clock was set within this boot.
	ClockSet bool
	// Answers are the answers to the questions of earlier plans.
	Answers map[Question]Answer
}

// A Namespace is one directory of the tree.
type Namespace struct {
	Hosts []byte      // its hosts.toml; nil if there is none
	Mode  fs.FileMode // of hosts.toml
	// Closed says that no other user can read hosts.toml.
	Closed bool
	// Unusable says why nothing is written there, "" if it is a directory.
	Unusable string
	// HasOthers says that there are other files beside hosts.toml. It is known
	// only of namespaces that are not in the map.
	HasOthers bool
	// Alone says that there is nothing beside hosts.toml. It is known only if
	// hosts_dir was another before.
	Alone bool
	// Dangling says that it is a link that leads nowhere, which containerd takes for
	// a missing directory.
	Dangling bool
	// Certs are the files in Docker's layout, as far as they were looked for;
	// see inspect in cmd/internal/node.
	Certs hosts.Certs
}

// SymbolicLink is what is unusable about a namespace that is a link to a directory:
// containerd follows it, and mirrorcred does not write there.
const SymbolicLink = "it is a symbolic link"

// Owner says who wrote the hosts.toml in a namespace. It hashes the file, so it is
// called only for files that differ from the map.
func (ns Namespace) Owner() hosts.Owner { return hosts.OwnerOf(ns.Hosts) }

// KubeletFiles are the kubelet's configurations of credential providers.
type KubeletFiles struct {
	Dir   bool // the configuration is a directory
	Mode  fs.FileMode
	Files map[string][]byte // by name; for a file its base name
	// Reader has read the files before, and remembers them; nil is one that
	// remembers nothing.
	Reader  *kubeletconfig.Reader
	Version Version
	// Changed is the moment of the version, and ChangedFault why it is not known.
	Changed      Moment
	ChangedFault error
	// Obstacle is why the file cannot be replaced, "" if that is not known.
	Obstacle string
}

// RouteFiles are the route files by the namespaces in their names.
type RouteFiles struct {
	Data      map[string][]byte
	Closed    map[string]bool // those that no other user can read
	Leftovers []string
}

// A Version identifies a file, or the files of a directory, as of the last write, and
// has the time of their last change of any kind. The time of the contents alone would
// not do: "mv" keeps it and "cp -p" sets it back.
type Version struct {
	Stamp   string // "" if there is nothing
	Changed time.Time
	Files   []string // on this machine
}

// isUsed reports whether containerd reads anything in a namespace, or will once
// another program has finished writing it.
func (ns Namespace) isUsed() bool { return !ns.Dangling && (len(ns.Hosts) > 0 || !ns.Certs.None()) }
