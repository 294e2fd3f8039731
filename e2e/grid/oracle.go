package grid

import (
	"slices"
	"strings"
)

// expect returns what must come of a case. The rules are those of containerd's
// walk through the hosts of a hosts.toml:
//
//   - The header goes to its own host with each request, and to no other. From 2.1 on,
//     it goes to the realm that this host names too, whichever that is.
//   - The kubelet's login goes to each host that answers 401, and to its realm.
//   - A host that does not serve the image is left for the next.
func expect(c Case) Outcome {
	seen := Seen{}
	if c.atMirror(seen) {
		return Outcome{Mirror, seen}
	}
	if c.atSource(seen) {
		return Outcome{Source, seen}
	}
	return Outcome{"", seen}
}

// headerAtRealm reports whether a version sends a host's header to its realm.
func headerAtRealm(version string) bool {
	return !strings.HasPrefix(version, "1.") && !strings.HasPrefix(version, "2.0.")
}

// secret is what a login shows, "" for none.
func (l Login) secret() Secret {
	switch l {
	case PodLogin:
		return Pod
	case TheCopy:
		return Copy
	}
	return ""
}

// acceptsAtV2 reports whether a kind takes its credential as a header at /v2.
func (k Kind) acceptsAtV2() bool {
	return slices.Contains([]Kind{Basic, Harbor, Artifactory, Token}, k)
}

// refusesWithBasic reports whether a refused header is answered with a Basic
// challenge.
func (k Kind) refusesWithBasic() bool {
	return slices.Contains([]Kind{Basic, Harbor, Refresh}, k)
}

// atMirror adds what is seen on the way through the mirror, and reports whether it
// gives the image.
func (c Case) atMirror(seen Seen) bool {
	if c.State == Down {
		return false
	}
	seen.add(Mirror, Header)
	switch {
	case c.State != Up && c.State != Ended:
		return false
	case c.State == Up && c.Kind.acceptsAtV2():
		return true
	case !c.Kind.refusesWithBasic():
		return c.atRealm(seen)
	case c.Login == NoLogin:
		return false
	}
	seen.add(Mirror, c.Login.secret())
	return c.Login == TheCopy && c.Kind.acceptsAtV2()
}

// atRealm adds what the mirror's realm is shown, and reports whether it gives a
// token.
func (c Case) atRealm(seen Seen) bool {
	realm := map[Kind]Party{Elsewhere: Realm, Proxy: HubAuth}[c.Kind]
	if realm == "" {
		realm = Mirror
	}
	withHeader := headerAtRealm(c.Client.Version)
	if withHeader {
		seen.add(realm, Header)
	}
	if c.Login != NoLogin {
		seen.add(realm, c.Login.secret())
	}
	switch right := withHeader && c.State == Up; {
	case c.Kind == Proxy && c.Login == NoLogin:
		return !withHeader // the hub gives anybody a token, but not with a login that it does not know
	case c.Kind == Proxy:
		return c.Login == PodLogin
	case c.Login == TheCopy:
		return true
	case c.Login == PodLogin:
		// The form, or the GET after it, has the pod's secret in the header's place.
		return right && (c.Kind == RealmFirst || c.Kind == Elsewhere)
	default:
		return right
	}
}

// atSource adds what the source and its realm are shown, and reports whether it
// gives the image.
func (c Case) atSource(seen Seen) bool {
	switch c.Behind {
	case Nothing:
		return false
	case Public:
		return true
	}
	asked := map[Behind]Party{Private: Source, Hub: HubAuth}[c.Behind]
	if c.Login != NoLogin {
		seen.add(asked, c.Login.secret())
	}
	return c.Login == PodLogin || c.Login == NoLogin && c.Behind == Hub
}
