package dockerconfig

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// hubKey is docker's key for Docker Hub (github.com/docker/docker v28,
// registry/config.go, IndexServer).
const hubKey = "https://index.docker.io/v1/"

// hub folds the names of Docker Hub into one.
func hub(host string) string {
	switch strings.TrimSuffix(host, ":443") {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// withPort returns a host without a port as a key may spell it too: with the
// default port of its scheme.
func withPort(host string, plain bool) string {
	if plain {
		return host + ":80"
	}
	return host + ":443"
}

// An entry is one of auths with its key parsed.
type entry struct {
	key    string // as written
	host   string // host[:port]; its labels may have wildcards
	prefix string // of the repository
	// names is host and prefix as a pattern that matches registries.
	names mirror.Pattern
	auth  auth
}

// newEntry parses a key as docker and the kubelet do (github.com/docker/cli
// v28, cli/config/credentials, ConvertToHostname; Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go, Add): a scheme and a leading /v1 or /v2 do
// not count. It is false if the key cannot name a registry.
func newEntry(key string, a auth) (entry, bool) {
	rest := key
	for _, scheme := range []string{"https://", "http://"} {
		rest = strings.TrimPrefix(rest, scheme)
	}
	name, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.TrimSuffix(prefix, "/")
	if version, below, _ := strings.Cut(prefix, "/"); version == "v1" || version == "v2" {
		prefix = below
	}
	// A host has no star, so the rest is checked with a letter in its place.
	parsed, err := mirror.ParseHost(strings.ReplaceAll(name, "*", "x"))
	if err != nil {
		return entry{}, false
	}
	host := strings.ToLower(name)
	if !strings.Contains(name, "*") {
		host = hub(parsed.String())
	}
	names, err := mirror.KubeletPattern(host + "/" + prefix)
	return entry{key, host, prefix, names, a}, err == nil
}

// entries returns auths in the order in which they are tried.
func entries(auths map[string]*auth) []entry {
	var list []entry
	for key, a := range auths {
		if a == nil {
			a = &auth{}
		}
		if e, ok := newEntry(key, *a); ok {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(
			cmp.Compare(strings.Count(a.host, "*"), strings.Count(b.host, "*")),
			cmp.Compare(len(b.prefix), len(a.prefix)),
			cmp.Compare(a.rank(), b.rank()),
			cmp.Compare(a.key, b.key))
	})
	return list
}

// rank orders entries that name the same repository: as in docker, the key that
// docker would write comes first; an empty one comes last.
func (e entry) rank() int {
	own := e.host
	if e.host == "docker.io" {
		own = hubKey
	}
	switch {
	case e.auth.empty():
		return 2
	case e.key == own:
		return 0
	}
	return 1
}

// find returns the entry for a query.
func (c *config) find(query credential.Query) (entry, bool) {
	if all := c.all(query); len(all) > 0 {
		return all[0], true
	}
	return entry{}, false
}

// all returns the entries for a query, the preferred one first.
func (c *config) all(query credential.Query) []entry {
	_, repository, _ := strings.Cut(query.Image, "/")
	host, err := mirror.ParseHost(hub(query.Registry.String()))
	if err != nil {
		return nil
	}
	var list []entry
	for _, e := range c.auths {
		if e.names.Covers(host, query.Plain, repository) {
			list = append(list, e)
		}
	}
	return list
}

// auth is the value of an entry (github.com/docker/cli v28,
// cli/config/types.AuthConfig).
type auth struct {
	Auth          credential.Secret `json:"auth"`
	Username      string            `json:"username"`
	Password      credential.Secret `json:"password"`
	IdentityToken credential.Secret `json:"identitytoken"`
	RegistryToken credential.Secret `json:"registrytoken"`
}

func (a auth) empty() bool { return a == auth{} }

// credential returns the username and the password. The error follows the
// entry's key.
func (a auth) credential() (credential.Credential, error) {
	switch {
	case a.IdentityToken != "":
		return credential.Credential{}, errors.New("has an identitytoken, and the kubelet can hand on only a username and a password; log in with those of a robot account or an access token")
	case a.RegistryToken != "":
		return credential.Credential{}, errors.New("has a registrytoken, and the kubelet can hand on only a username and a password; log in with those of a robot account or an access token")
	}
	c := credential.Credential{Username: a.Username, Password: a.Password}
	if a.Auth != "" {
		// With or without padding, like the kubelet (config.go,
		// decodeDockerConfigFieldAuth).
		text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(a.Auth.Reveal()), "="))
		if err != nil {
			return credential.Credential{}, errors.New("has an auth that is not base64; write the base64 of user:password")
		}
		username, password, ok := strings.Cut(string(text), ":")
		if !ok {
			return credential.Credential{}, errors.New("has an auth without a colon; write the base64 of user:password")
		}
		// Old versions of docker padded the password with zero bytes.
		c = credential.Credential{Username: username, Password: credential.Secret(strings.Trim(password, "\x00"))}
	}
	switch {
	case c.Username == "":
		return credential.Credential{}, errors.New("has no username; write the base64 of user:password as its auth")
	case c.Password == "":
		return credential.Credential{}, errors.New("has no password; write the base64 of user:password as its auth")
	}
	return c, nil
}
