package credential

import (
	"context"
	"errors"
)

// A PodToken is a [Source] that returns the pod's service account token as the
// password, for registries that accept the cluster's tokens.
type PodToken struct {
	// Username goes with every token.
	Username string
}

// Credential returns the pod's token. It is an error if there is none, or if it
// is not a token.
func (s PodToken) Credential(_ context.Context, query Query) (Credential, error) {
	token := query.ServiceAccountToken
	switch {
	case token == "":
		return Credential{}, errors.New("the request has no service-account token; the kubelet passes one from version 1.34 on, see tokenAttributes in its CredentialProviderConfig")
	case !token.IsToken():
		return Credential{}, errors.New("the request's service-account token holds spaces or control characters; check what runs between the kubelet and this program")
	}
	return Credential{Username: s.Username, Password: token}, nil
}
