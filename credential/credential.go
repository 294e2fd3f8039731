// Package credential answers the kubelet: it knows the exec protocol of
// credential provider plugins, which credential answers which image, and the
// routes that were applied to the node.
//
// It is pure. It refuses to know how a credential is got (that is a [Source],
// with a package for each kind below this one) and where files are (that is
// the plugin's shell). Start at [Route] for what may be answered, and at
// [DecodeRequest] and [Response] for how.
package credential

import (
	"context"
	"fmt"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Secret is a password or a token. It prints as "[secret]" with every verb,
// so that no log line and no error can hold it by accident; Reveal gives its
// text.
type Secret string

// Reveal returns the secret's text, for the one place that must send it.
func (s Secret) Reveal() string { return string(s) }

// IsToken reports whether s can be a token: printable ASCII without spaces. A
// newline in a password would be a header or a line of a file that somebody else
// wrote.
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

// A Credential is what a registry asks for: a username and a password. The
// zero Credential stands for an anonymous pull.
type Credential struct {
	Username string
	Password Secret
	// Expires is when the registry stops taking the password; zero where
	// that is not known.
	Expires time.Time
}

// Anonymous reports whether c is no credential at all.
func (c Credential) Anonymous() bool { return c.Username == "" && c.Password == "" }

// An Ask is what a [Source] is asked: a credential for one registry.
type Ask struct {
	// Registry is the host that is to be given the credential: a target.
	Registry mirror.Host
	// Image is the image as that registry serves it: host, repository
	// prefix and repository, without a tag.
	Image string
	// ServiceAccountToken and ServiceAccountAnnotations are the pod's, as
	// the kubelet handed them on; empty where it did not.
	ServiceAccountToken       Secret
	ServiceAccountAnnotations map[string]string
}

// A Source is where credentials of one kind come from. Its errors hold no
// secret and are one line each.
type Source interface {
	Credential(ctx context.Context, ask Ask) (Credential, error)
}
