package azure

import (
	"net/url"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
)

// A Config is the node's identity from azure.json. [ReadConfig] makes one; the
// zero Config names no identity.
type Config struct {
	cloud     cloud // as known by its name
	cloudName string
	// manager is resourceManagerEndpoint, or "" if the cloud is known and has exactly
	// this one, so that it need not be asked.
	manager  string
	tenant   string
	managed  bool   // useManagedIdentityExtension
	assigned string // userAssignedIdentityID; "" is the system's identity
	clientID string
	// secret and certPassword are pointers because fmt calls no method on an
	// unexported field: it would print the text. They are nil if there is none.
	secret, certPassword *credential.Secret
	certPath             string
	byToken              bool // the service principal is the one of a token in a file
	tokenFile            string
	incomplete           error // why the file names no identity, nil if it does
}

// ReadConfig parses an azure.json as [azurejson.Read] does. A file that names
// no usable identity is not an error here, but when a credential is asked for.
func ReadConfig(data []byte) (Config, error) {
	f, err := azurejson.Read(data)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		cloud:        cloudNamed(f.Cloud),
		cloudName:    f.Cloud,
		manager:      f.ResourceManagerEndpoint,
		tenant:       f.TenantID,
		managed:      f.Managed,
		assigned:     f.Assigned,
		clientID:     f.ClientID,
		secret:       secretOrNil(f.ClientSecret),
		certPassword: secretOrNil(f.CertPassword),
		certPath:     f.CertPath,
		byToken:      f.ByToken(),
		tokenFile:    f.TokenFile,
		incomplete:   f.Incomplete(),
	}
	if u, err := url.Parse(c.manager); err == nil && strings.EqualFold(u.Hostname(), c.cloud.manager) {
		c.manager = ""
	}
	return c, nil
}

func secretOrNil(s credential.Secret) *credential.Secret {
	if s == "" {
		return nil
	}
	return &s
}

// ServicePrincipal returns the id and the secret of the service principal in
// the file. It returns false if the file names a managed identity or no secret.
// acr-credential-provider returns the two as they are, for images of a registry
// of the cloud, without using the network
// (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/azure_credentials.go).
func (c Config) ServicePrincipal() (clientID string, secret credential.Secret, ok bool) {
	if c.managed || c.clientID == "" || c.secret == nil {
		return "", "", false
	}
	return c.clientID, *c.secret, true
}

// RegistrySuffix returns the suffix of the cloud's registries, without a leading dot,
// such as "azurecr.io". It is "" for a private cloud, since only its resource manager
// knows it; see [Source.LoginServer].
func (c Config) RegistrySuffix() string {
	if c.custom() {
		return ""
	}
	return c.cloud.suffix
}

// usable returns why the file names no identity of the node, or nil.
func (c Config) usable() error {
	if c.incomplete == nil && !c.managed && c.clientID == "" {
		return azurejson.File{}.Incomplete() // the zero Config
	}
	return c.incomplete
}
