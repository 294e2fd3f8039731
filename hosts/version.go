package hosts

import "github.com/mirrorcred/mirrorcred/hosts/release"

// A Version is a release line of containerd, or one release of it. The zero
// Version means all supported ones at once, 1.7 to 2.4.
type Version = release.Version

// newest is the version that the zero Version is read as.
var newest = release.Line(2, 4)

// ParseVersion returns the version that s names, such as "2.2", "v2.4.2" or
// "1.7.35-1~deb12u1"; "" is the zero Version. A line without a patch means its
// newest release.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return Version{}, nil
	}
	return release.Parse(s)
}

// readsReferrers reports whether containerd knows the capability: before 2.2
// it makes the whole file invalid, and pulls go to the source.
func readsReferrers(v Version) bool { return v != (Version{}) && !v.Before(2, 2, 0) }

// readsDialTimeout reports whether containerd knows dial_timeout; one that does
// not ignores the key, whatever it holds.
func readsDialTimeout(v Version) bool { return !v.Before(2, 0, 7) }

// readsBrackets reports whether containerd reads a host table with an IPv6
// address: 1.7 refuses the file.
func readsBrackets(v Version) bool { return !v.Before(2, 0, 0) }

// needsHost reports whether containerd refuses a file without a host table.
func needsHost(v Version) bool { return v.Before(1, 7, 32) }

// mayDialWithTLS reports whether dial_timeout may change the scheme of an http
// registry: in 2.0, and if the version is not known. An early release of 2.0
// ignores the key, and the next update of it does not.
func mayDialWithTLS(v Version) bool {
	return v == Version{} || !v.Before(2, 0, 0) && v.Before(2, 1, 0)
}

// dialsWithTLS reports whether dial_timeout counts as a TLS setting, so that an
// http registry is tried with https first.
func dialsWithTLS(v Version) bool { return readsDialTimeout(v) && v.Before(2, 1, 0) }
