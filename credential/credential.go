// Package credential knows the kubelet's exec protocol for credential provider
// plugins, and which credential the kubelet picks for an image from a plugin's
// answer.
//
// It is pure. Package route decides what a plugin may answer. The credential
// itself comes from a [Source]; each kind of source has a package below this
// one. Start at [DecodeRequest] and [Answer].
package credential

import (
	"context"
	"fmt"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Secret is a password or a token. It prints as "[secret]" with every verb,
// so that no log line and no error can hold it by accident. [Secret.Reveal]
// returns its text.
type Secret string

// Reveal returns the secret's text, for the one place that must send it.
func (s Secret) Reveal() string { return string(s) }

// IsToken reports whether s may be a token: printable ASCII without spaces. A
// newline in a token could add a header to a request, or a line to a file.
func (s Secret) IsToken() bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// Format implements [fmt.Formatter]; it prints no part of the secret.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// MarshalText implements [encoding.TextMarshaler], which JSON uses; it gives
// no part of the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// A Credential is a username and a password for a registry. The zero Credential
// means an anonymous pull.
type Credential struct {
	Username string
	Password Secret
	// Expires is when the registry stops accepting the password; the zero time if
	// unknown.
	Expires time.Time
}

// Anonymous reports whether c is the zero Credential, of an anonymous pull.
func (c Credential) Anonymous() bool { return c.Username == "" && c.Password == "" }

// A Query asks a [Source] for the credential of one registry.
type Query struct {
	// Registry is the host that will get the credential: a target.
	Registry mirror.Host
	// Plain says that the registry uses plain http, so its default port is 80
	// and not 443.
	Plain bool
	// Image is the image's name at that registry: host, repository prefix and
	// repository, without a tag.
	Image string
	// Asked is the image's name as the pod has it, from the kubelet; "" if the
	// source need not know.
	Asked string
	// ServiceAccountToken and ServiceAccountAnnotations are the pod's, from the
	// kubelet; empty if the kubelet sent none.
	ServiceAccountToken       Secret
	ServiceAccountAnnotations map[string]string
}

// A Source returns credentials of one kind. Its errors are one line each and
// hold no secret.
type Source interface {
	Credential(ctx context.Context, query Query) (Credential, error)
}

// A Lister is a [Source] that may have several credentials for one image, in the
// order in which they should be tried, or none.
type Lister interface {
	Source
	Credentials(ctx context.Context, query Query) ([]Credential, error)
}
