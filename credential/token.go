package credential

import (
	"context"
	"errors"
)

// A PodToken is a [Source] that hands the pod's service-account token on as the
// password, for registries that take the tokens of the cluster.
type PodToken struct {
	// Username goes with every token.
	Username string
}

// Credential returns the token of ask. It is an error where there is none, or
// one that is no token.
func (s PodToken) Credential(_ context.Context, ask Ask) (Credential, error) {
	token := ask.ServiceAccountToken
	switch {
	case token == "":
		return Credential{}, errors.New("the request carries no service-account token; the kubelet hands one on from version 1.34, see tokenAttributes in its CredentialProviderConfig")
	case !token.IsToken():
		return Credential{}, errors.New("the request's service-account token holds spaces or control characters; check what stands between the kubelet and this program")
	}
	return Credential{Username: s.Username, Password: token}, nil
}
