package credential

import "github.com/mirrorcred/mirrorcred/mirror"

// LoginServer returns an image's host if it is an ACR login server of a public
// cloud. A host in upper case is not one: the kubelet would not match the
// answer.
func LoginServer(image mirror.Image) (mirror.Host, bool) {
	host, err := mirror.ParseHost(image.Host())
	if err != nil || host.String() != image.Host() {
		return mirror.Host{}, false
	}
	_, ok := host.ACRSuffix()
	return host, ok
}
