package plan

import (
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// Source returns the source that a change is about, "" if it is about the kubelet.
func (c Change) Source() string {
	if c.Stage == StageKubelet {
		return ""
	}
	return hosts.HostOf(ChangedNamespace(c))
}

// From returns the targets of a mirror before a change of its hosts.toml, in
// their order, "" if it had none. To returns those after it.
func (c Change) From() string { return targetsIn(c.Old, c.Source()) }

// To returns the targets after the change.
func (c Change) To() string { return targetsIn(c.New, c.Source()) }

// targetsIn returns the registries that a hosts.toml names, as a map names them.
func targetsIn(data []byte, source string) string {
	if len(data) == 0 {
		return ""
	}
	endpoints, _ := hosts.Read(data, source, hosts.Version{}) // one that is refused leads to the source
	var names []string
	for _, e := range endpoints {
		name := e.Host + strings.TrimSuffix(strings.Replace(e.Path, "/v2", "", 1), "/")
		switch {
		case e.Source:
			name = source
		case e.Scheme == "http":
			name = "http://" + name
		}
		names = append(names, name)
	}
	return strings.Join(slices.Compact(names), ", ")
}
