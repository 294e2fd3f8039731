package route

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Credentials are those of one registry, in the order in which a pull tries
// them; none means that the registry is anonymous. The last one may be named
// [mirror.Anonymous], and has nothing else: a pull without a credential.
//
// One alone is an object in the file, as before there were lists, so that a
// plugin of that time still reads it. More than one are a list of objects.
type Credentials []mirror.Credential

// newCredentials returns the credentials of a map with the names of a target.
func newCredentials(m *mirror.Map, names []string) Credentials {
	var list Credentials // nil if there are no names
	for _, name := range names {
		c, ok := m.Credential(name)
		if !ok {
			c = mirror.Credential{Name: mirror.Anonymous}
		}
		list = append(list, c)
	}
	return list
}

// offered returns the credentials as [Offer] has them. An anonymous registry has a
// single nil.
func (l Credentials) offered() []*mirror.Credential {
	if len(l) == 0 {
		return []*mirror.Credential{nil}
	}
	list := make([]*mirror.Credential, len(l))
	for i := range l {
		if l[i].Name != mirror.Anonymous {
			list[i] = &l[i]
		}
	}
	return list
}

// withoutCredential returns the offers of a route that gives no credential: none, or
// the one attempt without a credential that a registry's token realm needs.
func (r *Route) withoutCredential() []Offer {
	for _, g := range r.Generations {
		if slices.ContainsFunc(g.Targets, func(t Target) bool { return t.Realm }) {
			return []Offer{{Empty: true}}
		}
	}
	return nil
}

// UnmarshalJSON reads what is in a route's file.
func (l *Credentials) UnmarshalJSON(data []byte) error {
	// The strictness of the decoder around this one does not reach here.
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if bytes.HasPrefix(data, []byte("[")) {
		return decoder.Decode((*[]mirror.Credential)(l))
	}
	one := make(Credentials, 1)
	err := decoder.Decode(&one[0])
	*l = one
	return err
}

// MarshalJSON returns what is in a route's file; see [Route.Encode], which does
// the same faster.
func (l Credentials) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]mirror.Credential(l))
}
