package mirror

import "slices"

// Equal reports whether two mirrors are the same, wherever they are in their maps: the
// lines do not matter. The credentials are compared by their names only.
func (m Mirror) Equal(other Mirror) bool {
	return m.Source == other.Source && m.ShareCredential == other.ShareCredential && m.Ready == other.Ready &&
		slices.EqualFunc(m.Targets, other.Targets, Target.equal)
}

func (t Target) equal(other Target) bool {
	return t.scheme == other.scheme && t.host == other.host && t.base == other.base && t.prefix == other.prefix &&
		t.self == other.self && t.anonymous == other.anonymous &&
		t.DeliverHosts == other.DeliverHosts && t.TokenHost == other.TokenHost && t.Realm == other.Realm &&
		slices.Equal(t.Credentials, other.Credentials) && slices.EqualFunc(t.Below, other.Below, PathCredential.equal) &&
		t.Settings.equal(other.Settings)
}

func (p PathCredential) equal(other PathCredential) bool {
	return p.Prefix == other.Prefix && slices.Equal(p.Credentials, other.Credentials)
}

func (s Settings) equal(other Settings) bool {
	return s.SkipVerify == other.SkipVerify && s.DialTimeout == other.DialTimeout &&
		slices.Equal(s.CA, other.CA) && slices.Equal(s.Client, other.Client) &&
		slices.Equal(s.Capabilities, other.Capabilities) && slices.EqualFunc(s.Header, other.Header, Header.equal)
}

func (h Header) equal(other Header) bool {
	return h.Name == other.Name && h.File == other.File && h.Delivered == other.Delivered && slices.Equal(h.Values, other.Values)
}
