package plan

import (
	"path"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Desired is what the operator asks for.
type Desired struct {
	Map *mirror.Map
	// Full is the map as the operator wrote it, if targets are left out of Map for now;
	// see [Deliver]. nil means Map.
	Full *mirror.Map
	// Wall is the wall clock by which [Deliver] left them out. What the plan reports for
	// expired credentials goes by it too, so that both agree.
	Wall    time.Time
	Files   []hosts.File // rendered for the mirrors, in their order
	Version hosts.Version
	MapFile string // where the map is on this machine
	// Generation names the version of the map.
	Generation string
	// Root is the directory of the node on this machine, for the paths in messages.
	// Elsewhere says that no program runs there.
	Root      string
	Elsewhere bool
	// Adopt, Retry and NoKubelet are as in node.Node.
	Adopt, Retry, NoKubelet bool
	// NoDelivery says that no credential is written into hosts.toml, as it would become
	// part of an image.
	NoDelivery bool
	// Hold reports whether a source stays as it is for now although the map removes it,
	// or takes a credential away from it; nil if none does.
	Hold   func(source string) bool
	Wanted map[string]bool // the namespaces of the map

	rendered []rendered // what [Rendering] made, nil if Files were made otherwise
}

// path returns where a path of the node is on this machine.
func (d Desired) path(parts ...string) string {
	return path.Join(append([]string{d.Root, "/"}, parts...)...)
}
