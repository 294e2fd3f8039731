package plan

import (
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A matcher knows for which sources the kubelet runs a provider.
type matcher struct {
	exact map[string]bool
	globs []mirror.Pattern
}

func newMatcher(patterns []string) matcher {
	m := matcher{exact: make(map[string]bool, len(patterns))}
	for _, s := range patterns {
		m.exact[s] = true
		if !strings.ContainsAny(s, `*?[\/`) {
			continue // a whole host, which is looked up
		}
		if pattern, err := mirror.KubeletPattern(s); err == nil {
			m.globs = append(m.globs, pattern)
		}
	}
	return m
}

// has reports whether the provider is run for all images of a source.
func (m matcher) has(s mirror.Source) bool {
	if s.Any() {
		return m.exact["*.*"]
	}
	if m.exact[s.String()] {
		return true
	}
	for _, glob := range m.globs {
		if glob.MatchesHost(s.Host()) {
			return true
		}
	}
	return false
}
