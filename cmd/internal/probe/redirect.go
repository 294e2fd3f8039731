package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	neturl "net/url"
	"path"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// redirects reports storage to which containerd would send a credential along: Go's client
// keeps Authorization for the same name on another port, for a name below it, and for plain
// http (net/http, shouldCopyHeaderOnRedirect). It follows no redirect, and reads a manifest
// and the image's configuration, but no layer.
func (q question) redirects(ctx context.Context, authorization string) []doctor.Finding {
	if !q.known || !q.holdsCredential() {
		return nil
	}
	api := q.endpoint.Scheme + "://" + q.endpoint.Host + path.Join("/", q.endpoint.Path, q.image.Repository())
	digest := q.blob(ctx, api, authorization)
	if digest == "" {
		return nil
	}
	a, err := q.send(ctx, http.MethodGet, q.named(api+"/blobs/"+digest), authorization)
	if err != nil || a.status < 300 || a.status >= 400 {
		return nil
	}
	from, err1 := neturl.Parse(api)
	to, err2 := from.Parse(a.header.Get("Location"))
	if err1 != nil || err2 != nil || !keepsCredential(from, to) {
		return nil
	}
	return q.finding(doctor.ProbeRedirect, fmt.Sprintf("it redirects pulls of layers to %s://%.255s, and containerd sends the credential there too: other storage sees it, or refuses it and the layers come from the next registry", to.Scheme, to.Host),
		"serve its storage under another name and over https, or have the registry send the layers itself")
}

// holdsCredential reports whether the credential is in hosts.toml.
func (q question) holdsCredential() bool {
	for name := range q.endpoint.Header {
		if strings.EqualFold(name, "Authorization") {
			return true
		}
	}
	return false
}

// keepsCredential reports whether a redirect leads elsewhere, and takes Authorization along.
func keepsCredential(from, to *neturl.URL) bool {
	if from.Scheme == to.Scheme && port(from) == port(to) && strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	a, b := strings.ToLower(from.Hostname()), strings.ToLower(to.Hostname())
	return a == b || strings.HasSuffix(b, "."+a) && !strings.Contains(b, ":")
}

func port(u *neturl.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// named adds which registry the image names, as containerd does.
func (q question) named(address string) string {
	if q.image.Host() != q.endpoint.Host {
		address += "?ns=" + q.image.Host()
	}
	return address
}

// blob returns the digest of the image's configuration, or of that of its first platform;
// "" if that is not known.
func (q question) blob(ctx context.Context, api, authorization string) string {
	reference := q.reference()
	for range 2 {
		a, err := q.send(ctx, http.MethodGet, q.named(api+"/manifests/"+reference), authorization)
		if err != nil || a.status != http.StatusOK {
			return ""
		}
		var manifest struct {
			Config    struct{ Digest string }
			Manifests []struct{ Digest string }
		}
		if json.Unmarshal([]byte(a.body), &manifest) != nil {
			return ""
		}
		if isDigest(manifest.Config.Digest) {
			return manifest.Config.Digest
		}
		if len(manifest.Manifests) == 0 || !isDigest(manifest.Manifests[0].Digest) {
			return ""
		}
		reference = manifest.Manifests[0].Digest
	}
	return ""
}

// isDigest reports whether a text from a registry may be part of an address.
func isDigest(text string) bool {
	algorithm, hex, ok := strings.Cut(text, ":")
	return ok && algorithm == "sha256" && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
