package plan

import (
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// findStock returns the present entry of [mirror.Stock].
func findStock(o *Observed) (kubeletconfig.Provider, bool, error) {
	return o.Kubelet.Reader.Find(o.Kubelet.list(), mirror.Stock)
}

// stillMade reports whether the present entry is the one that mirrorcred made, rather
// than one that another program wrote since.
func stillMade(o *Observed, stock kubeletconfig.Provider) bool {
	last := o.State.last(mirror.Stock)
	same := last != nil && sameEntries([]Entry{*last}, []Entry{running(mirror.Stock).entry(stock)})
	return o.State.Made && (same || o.State.Memo.File == HashFiles(o.Kubelet.Files))
}

// withMirrors returns an entry with other mirrors and added patterns. It drops the
// patterns of mirrors that are removed.
func withMirrors(p kubeletconfig.Provider, match []string, mirrors string) kubeletconfig.Provider {
	drop := map[string]bool{NoImage: true}
	for source := range readStockArgs(p.Args).mirrors() {
		drop[source] = true
	}
	for _, s := range match {
		drop[s] = false
	}
	patterns := slices.DeleteFunc(slices.Clone(p.MatchImages), func(s string) bool { return drop[s] })
	for _, s := range patterns {
		drop[s] = true // it is there
	}
	patterns = append(patterns, slices.DeleteFunc(match, func(s string) bool {
		there := drop[s]
		drop[s] = true
		return there
	})...)
	if len(patterns) == 0 {
		patterns = []string{NoImage}
	}
	p.MatchImages, p.Args = patterns, withMirrorArg(p.Args, mirrors)
	return p
}
