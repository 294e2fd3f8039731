package plan

import (
	"path"
	"slices"
	"strings"
)

// ChangedNamespace returns the namespace that a change is about.
func ChangedNamespace(c Change) string {
	if c.Stage == StageRoutes || c.Stage == StageForget {
		return strings.TrimSuffix(path.Base(c.Path), ".json")
	}
	return path.Base(path.Dir(c.Path))
}

// DropRefused takes out the changes that a source was refused, and those that follow from them.
func (p *Plan) DropRefused() {
	if len(p.Refused) == 0 {
		return
	}
	p.Changes = slices.DeleteFunc(p.Changes, func(c Change) bool { return p.Refused[ChangedNamespace(c)] })
	p.ended = slices.DeleteFunc(p.ended, func(name string) bool { return p.Refused[name] })
}
