package azure

import (
	"errors"
	"net/url"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
)

// A Config is what azure.json says about the node's identity. Make one by
// [ReadConfig]; the zero Config names no identity.
type Config struct {
	cloud     cloud // as known by its name
	cloudName string
	// manager is resourceManagerEndpoint, "" where it is the one that the
	// cloud is known to have: there is nothing to learn from it then.
	manager  string
	tenant   string
	managed  bool   // useManagedIdentityExtension
	assigned string // userAssignedIdentityID; "" is the system's identity
	clientID string
	// secret and certPassword are behind pointers since fmt calls no method
	// on an unexported field: it would print the text. nil where there is
	// none.
	secret, certPassword *credential.Secret
	certPath             string
	federated            bool // useFederatedWorkloadIdentityExtension
	tokenFile            string
	adfs                 bool
}

// ReadConfig parses an azure.json as [azurejson.Read] does. A file that names no
// usable identity is not an error here: it is one when a credential is asked
// for.
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
		federated:    f.Federated,
		tokenFile:    f.TokenFile,
		adfs:         strings.EqualFold(f.IdentitySystem, "adfs"),
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

// ServicePrincipal returns the id and secret of the service principal that the
// file names, and false where it names a managed identity or no secret.
// acr-credential-provider answers them as they are for images of a registry of
// the cloud, without a network (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/azure_credentials.go).
func (c Config) ServicePrincipal() (clientID string, secret credential.Secret, ok bool) {
	if c.managed || c.clientID == "" || c.secret == nil {
		return "", "", false
	}
	return c.clientID, *c.secret, true
}

// RegistrySuffix returns what the names of the cloud's registries end in,
// without a leading dot, such as "azurecr.io". It is "" for a cloud that has to
// be looked up; see [Source.LoginServer].
func (c Config) RegistrySuffix() string {
	if c.custom() {
		return ""
	}
	return c.cloud.suffix
}

// usable returns why the file names no identity of the node, or nil.
func (c Config) usable() error {
	if c.managed {
		return nil
	}
	const instead = "set useManagedIdentityExtension: true, or aadClientId and aadClientSecret"
	switch {
	case c.adfs:
		return errors.New("identitySystem: AD FS is not supported; " + instead + " of Entra ID")
	case c.clientID == "" && c.secret == nil && c.certPath == "" && !c.byToken():
		return errors.New("no identity is named; " + instead)
	case c.clientID == "":
		return errors.New("aadClientId is missing; set it, or useManagedIdentityExtension: true")
	case c.secret == nil && c.certPath == "" && !c.byToken():
		return errors.New("aadClientSecret is missing; set it, aadClientCertPath or aadFederatedTokenFile, or useManagedIdentityExtension: true")
	case c.secret == nil && c.byToken() && c.tokenFile == "":
		return errors.New("useFederatedWorkloadIdentityExtension is true and aadFederatedTokenFile is missing; set it to the path of the token")
	case c.tenant == "":
		return errors.New("tenantId is missing; set the tenant of aadClientId")
	}
	return nil
}

// byToken reports whether the service principal is the one of a token in a
// file. Where a certificate is named besides, the switch decides.
func (c Config) byToken() bool {
	return c.federated || c.tokenFile != "" && c.certPath == ""
}
