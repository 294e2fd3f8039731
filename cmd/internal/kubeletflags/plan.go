package kubeletflags

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Options are what a kubelet's flags should be.
type Options struct {
	// Want are the paths of the map, and Named says that the map sets them: they are
	// not the defaults.
	Want  Paths
	Named bool
	// Adopt changes flags that have other values, and removes [InTreeFlag].
	Adopt bool
	// Version is the kubelet's version, such as "1.34"; "" if it is not known.
	Version string
	// AzureConfig is the azure.json of the map.
	AzureConfig string
}

// A Plan is what must change for a kubelet to have the flags, or why nothing is changed.
type Plan struct {
	// Paths are the values of the flags once all changes are made.
	Paths   Paths
	Changes []Change
	Faults  []*Fault
	// Waiting is what the change waits for, and Notes what to know about it.
	Waiting, Notes []string
	// Link is the path of the map's azure.json if it must become a link to LinkTo, the
	// file that [InTreeFlag] names; else "".
	Link, LinkTo string
}

// Plan plans the changes for a kubelet to have the flags. It keeps the flags that the
// kubelet has, unless the map sets other paths.
func (k *Kubelet) Plan(o Options) Plan {
	o.Want = Paths{clean(o.Want.Config), clean(o.Want.BinDir)}
	both := k.Now.Config != "" && k.Now.BinDir != ""
	p := Plan{Paths: k.Now}
	fault := k.way.fault(k)
	if both && o.Named && k.Now == o.Want {
		fault = nil // the map's paths replace the flags
	}
	if fault != nil && !o.Adopt {
		p.Faults = append(p.Faults, fault)
		return p
	}
	if k.InTree != "" && !k.planInTree(o, &p) {
		return p
	}
	if e, ok := k.way.(*service); ok && e.layout.name == "EKS" && both {
		return e.planEKS(k, o, p)
	}
	switch {
	case both && !o.Named:
		o.Want = k.Now
	case both && k.Now != o.Want && !o.Adopt:
		p.Faults = append(p.Faults, differ(k.Now, o.Want))
		return p
	}
	if both && k.Now == o.Want && (!o.Adopt || k.InTree == "" && fault == nil) {
		return p
	}
	for _, word := range []string{o.Want.Config, o.Want.BinDir} {
		if strings.ContainsFunc(word, isSpecial) {
			p.Faults = append(p.Faults, &Fault{Text: fmt.Sprintf("%q under [kubelet] has a special character of systemd's", word), Repair: "use a path of letters, digits and \"/._+-\""})
		}
	}
	if len(p.Faults) > 0 {
		return p
	}
	way := k.way.plan(k, o)
	way.Link, way.LinkTo, way.Notes = p.Link, p.LinkTo, slices.Concat(p.Notes, way.Notes)
	return way
}

// isSpecial is stricter than systemd, because a path with such a character is a mistake.
func isSpecial(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/._+-:@,=", c)
}

func differ(now, want Paths) *Fault {
	return &Fault{
		Text: fmt.Sprintf("the kubelet has %s, and the map has config = %q and bin_dir = %q under [kubelet]",
			strings.Join(now.words(), " "), want.Config, want.BinDir),
		Repair: "write the kubelet's paths there, or leave both keys out; --adopt gives the kubelet the map's instead",
	}
}

// planInTree plans the removal of the flag that newer kubelets do not know. It reports
// whether there is more to plan.
func (k *Kubelet) planInTree(o Options, p *Plan) bool {
	const repair = "take it out, or run this with --adopt"
	text := fmt.Sprintf("the kubelet has --%s=%s, and from 1.30 on a kubelet does not start with it (\"unknown flag\")", InTreeFlag, k.InTree)
	switch {
	case !o.Adopt && o.Version != "" && !atLeast(o.Version, 1, 30):
		p.Notes = append(p.Notes, text+"; "+repair+" before the kubelet is upgraded")
		return true
	case !o.Adopt:
		p.Faults = append(p.Faults, &Fault{Text: text, Repair: repair})
		return false
	}
	if o.AzureConfig != "" && path.Clean(o.AzureConfig) != k.InTree {
		p.Link, p.LinkTo = o.AzureConfig, k.InTree
	}
	return true
}

// atLeast reports whether a version, such as "1.34.2" or "v1.34", is that or later.
func atLeast(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
