package dockerconfig

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mirrorcred/mirrorcred/credential"
)

// The types of Kubernetes secrets that hold logins for registries
// (kubernetes.io/docs/concepts/configuration/secret).
const (
	secretType    = "kubernetes.io/dockerconfigjson"
	oldSecretType = "kubernetes.io/dockercfg"
)

// ParseSecret parses the logins in a Kubernetes secret of the given type. Of a
// config.json it takes auths only, and so does the kubelet: whoever can write a
// secret must not choose a program that the node runs. The error does not name
// the secret, and repeats nothing of it.
func ParseSecret(kind string, data map[string][]byte) (*Source, error) {
	key, auths := inSecret, map[string]*auth(nil)
	var err error
	switch kind {
	case secretType:
		var raw struct {
			Auths map[string]*auth `json:"auths"`
		}
		err = json.Unmarshal(data[key], &raw)
		auths = raw.Auths
	case oldSecretType:
		key = inOldSecret
		err = json.Unmarshal(data[key], &auths)
	default:
		return nil, fmt.Errorf("it is not of type %s; create it with \"kubectl create secret docker-registry\"", secretType)
	}
	switch {
	case len(data[key]) == 0:
		return nil, fmt.Errorf("it has no %s; create it with \"kubectl create secret docker-registry\"", key)
	case err != nil:
		return nil, fmt.Errorf("its %s is not a docker config.json; create it with \"kubectl create secret docker-registry\"", key)
	}
	return &Source{&config{file: key, auths: entries(auths)}}, nil
}

// Logins returns the username and the password of every entry for query.Image at
// query.Registry, in the order in which [Source.Credential] prefers them, and why
// other entries for it cannot be used. It runs no helper.
func (s *Source) Logins(query credential.Query) (list []credential.Credential, faults []error) {
	for _, e := range s.config.all(query) {
		c, err := e.auth.credential()
		switch {
		case e.auth.empty():
			faults = append(faults, fmt.Errorf("entry %q under auths %w", e.key, errEmpty))
		case err != nil:
			faults = append(faults, fmt.Errorf("entry %q under auths %w", e.key, err))
		default:
			list = append(list, c)
		}
	}
	return list, faults
}

var errEmpty = errors.New("is empty; write the base64 of user:password as its auth")
