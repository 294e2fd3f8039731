package plan

import (
	"bytes"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// settled says which mirrors are settled: their hosts.toml and route are, byte for byte,
// what the map asks for. Nearly all of 10,000 are, and each of the other parts can pass over
// them. It goes by the order of the map; nil says that none is known to be.
type settled []settlement

// A settlement is what [settled] returns for one mirror. The mirror of "*" is never settled:
// what belongs in its route is not known yet.
type settlement struct {
	isSettled   bool
	isAnonymous bool // known only of one that is settled
	// isPlain says that it is settled, and that all there is to say about it comes from
	// the kubelets.
	isPlain bool
}

// at returns the settlement of the mirror with that index.
func (s settled) at(i int) settlement {
	if s == nil {
		return settlement{}
	}
	return s[i]
}

func newSettled(d *Desired, r routes, t tree) settled {
	s := make(settled, len(d.Files))
	inParallel(len(s), func(first, step int) {
		for i := first; i < len(s); i += step {
			s[i] = settlementOf(d, r, t, i)
		}
	})
	return s
}

func settlementOf(d *Desired, r routes, t tree, i int) settlement {
	m, f := d.Map.Mirrors[i], d.Files[i]
	ns := t.namespaces[f.Namespace]
	if m.Source.Any() || !ns.Holds(f) {
		return settlement{}
	}
	want, err := d.sole(i)
	hasMode := !f.Secret && !want.isClosed || r.closed[f.Namespace]
	if err != nil || !hasMode || !bytes.Equal(r.files[f.Namespace], want.data) {
		return settlement{}
	}
	return settlement{isSettled: true, isAnonymous: want.isAnonymous, isPlain: isPlain(m, ns, t)}
}

// isPlain is [settlement.isPlain] for a mirror that is settled.
func isPlain(m mirror.Mirror, ns Namespace, t tree) bool {
	return m.Ready == 0 && !m.Delivers() && ns.Certs.None() && len(hosts.Shadowed(m.Source)) == 0 && len(t.rancher) == 0
}
