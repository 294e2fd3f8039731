package doctor

import (
	"cmp"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Lifetime is when a credential that the map uses was issued and when it expires.
type Lifetime struct {
	// Credential is its name in the map, or the file of a client certificate.
	Credential string
	// From is zero if that is unknown.
	From, Until time.Time
}

// maxLifetimes bounds how many are reported, those that end first.
const maxLifetimes = 100

// Lifetimes returns when the credentials of the map expire, one for each credential,
// if their files say so. What a program renews by itself, such as the plugin's
// tokens, is not among them.
func Lifetimes(facts *Facts) []Lifetime {
	first := map[string]Lifetime{}
	add := func(l Lifetime) {
		if old, ok := first[l.Credential]; !l.Until.IsZero() && (!ok || l.Until.Before(old.Until)) {
			first[l.Credential] = l
		}
	}
	all := uses(facts.Map)
	azure, direct := facts.Map.Azure()
	for _, c := range facts.Map.Credentials {
		u := all[c.Name]
		if u.sources.empty() && !(direct && c.Name == azure.Name) {
			continue // no pull needs the credential
		}
		if f := facts.Files[c.File]; c.Kind == mirror.Azure && f.Azure != nil {
			add(Lifetime{c.Name, f.Azure.From, f.Azure.Until})
		}
		if keys := facts.Docker[c.File]; c.Kind == mirror.DockerConfig && keys != nil {
			for _, t := range u.targets {
				from, until := keys.Lifetime(t.query())
				add(Lifetime{c.Name, from, until})
			}
		}
	}
	for _, l := range facts.Clients {
		add(l)
	}
	list := make([]Lifetime, 0, len(first))
	for _, l := range first {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Lifetime) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Credential, b.Credential))
	})
	return list[:min(len(list), maxLifetimes)]
}
