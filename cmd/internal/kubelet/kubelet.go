// Package kubelet finds the kubelets that run on this node: their arguments,
// start times and versions.
//
// Package process judges whose a process is; one that is not the node's is left
// out, and cannot keep a source pending. Package node knows what a kubelet has
// read. Start at [Running].
package kubelet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
)

// names are the process names of kubelets, true if the kubelet is embedded in
// the program: k3s and MicroK8s.
var names = map[string]bool{
	"kubelet": false, "k3s": true, "k3s-server": true, "k3s-agent": true, "kubelite": true,
}

// A Kubelet is a running kubelet of the node.
type Kubelet struct {
	process.Process
	// Embedded says that it is part of another program, so that its flags
	// are not among Args.
	Embedded bool
}

// A Sight is what can be seen of the node's kubelets.
type Sight struct {
	// Kubelets are the running ones.
	Kubelets []Kubelet
	// Unknown says why another one may run unseen, "" if it would be seen.
	Unknown string
}

// Running finds the running kubelets.
func Running(t process.Table) (Sight, error) {
	found, unknown, err := t.Find(slices.Collect(maps.Keys(names))...)
	if err != nil {
		return Sight{}, fmt.Errorf("look for the kubelet: %w", err)
	}
	s := Sight{Unknown: unknown}
	for _, p := range found {
		s.Kubelets = append(s.Kubelets, Kubelet{p, names[p.Name]})
	}
	if len(s.Kubelets) == 0 && s.Unknown == "" {
		if s.Unknown, err = t.Blind(); err != nil {
			return Sight{}, fmt.Errorf("look for the kubelet: %w", err)
		}
	}
	return s, nil
}

// Flag returns the value of a flag in a command line by the rules of pflag,
// which the kubelet uses, false if it is not given: the last one counts, and "_"
// in a name is "-".
func Flag(args []string, name string) (string, bool) {
	values := Flags(args, name)
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Flags is [Flag] for a flag that may be repeated, such as --feature-gates.
func Flags(args []string, name string) []string {
	var values []string
	for i, arg := range args {
		key, after, hasValue := strings.Cut(arg, "=")
		if !strings.HasPrefix(key, "-") || strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-") != name {
			continue
		}
		switch {
		case hasValue:
			values = append(values, after)
		case i+1 < len(args):
			values = append(values, args[i+1])
		}
	}
	return values
}
