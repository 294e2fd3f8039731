package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mirrorcred/mirrorcred/credential"
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

// file is azure.json; encoding/json ignores the case of its keys.
type file struct {
	Cloud                   string `json:"cloud"`
	TenantID                string `json:"tenantId"`
	Managed                 bool   `json:"useManagedIdentityExtension"`
	Assigned                string `json:"userAssignedIdentityID"`
	ClientID                string `json:"aadClientId"`
	ClientSecret            string `json:"aadClientSecret"`
	CertPath                string `json:"aadClientCertPath"`
	CertPassword            string `json:"aadClientCertPassword"`
	Federated               bool   `json:"useFederatedWorkloadIdentityExtension"`
	TokenFile               string `json:"aadFederatedTokenFile"`
	IdentitySystem          string `json:"identitySystem"`
	ResourceManagerEndpoint string `json:"resourceManagerEndpoint"`
}

// ReadConfig parses an azure.json, JSON or YAML, as acr-credential-provider
// reads it: the case of keys does not matter and unknown ones are let pass.
// The error names the line or the key and holds no value; the caller adds the
// file's name. A file that names no usable identity is not an error here: it
// is one when a credential is asked for.
func ReadConfig(data []byte) (Config, error) {
	f, err := decode(data)
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

func secretOrNil(s string) *credential.Secret {
	if s == "" {
		return nil
	}
	return (*credential.Secret)(&s)
}

// decode reads JSON where that is what the bytes look like. What looks like
// JSON and is not may still be YAML, of which JSON is a part: a comment or a
// comma too many.
func decode(data []byte) (file, error) {
	var f file
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return decodeYAML(data)
	}
	err := json.Unmarshal(data, &f)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return file{}, kindError(kind.Field, kind.Type.Kind().String())
	case errors.As(err, &syntax):
		if f, err := decodeYAML(data); err == nil {
			return f, nil
		}
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return file{}, fmt.Errorf("line %d: this is not JSON", line)
	case err != nil:
		return file{}, errors.New("this is not a JSON object")
	}
	return f, nil
}

// decodeYAML reads the keys that are known and leaves the rest undecoded.
// Errors of the YAML library quote the file (an unquoted secret that begins
// with "*" is an unknown anchor, by name), so none is handed on.
func decodeYAML(data []byte) (file, error) {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil {
		return file{}, errors.New("this is neither JSON nor YAML; look for a tab, or for a value that wants quotes")
	}
	if len(doc.Content) == 0 {
		return file{}, errors.New("the file is empty")
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return file{}, errors.New("this is not an object of keys and values")
	}
	var f file
	fields := map[string]any{
		"cloud": &f.Cloud, "tenantid": &f.TenantID,
		"usemanagedidentityextension": &f.Managed, "userassignedidentityid": &f.Assigned,
		"aadclientid": &f.ClientID, "aadclientsecret": &f.ClientSecret,
		"aadclientcertpath": &f.CertPath, "aadclientcertpassword": &f.CertPassword,
		"usefederatedworkloadidentityextension": &f.Federated, "aadfederatedtokenfile": &f.TokenFile,
		"identitysystem": &f.IdentitySystem, "resourcemanagerendpoint": &f.ResourceManagerEndpoint,
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key := top.Content[i].Value
		field, ok := fields[strings.ToLower(key)]
		if !ok {
			continue
		}
		if err := top.Content[i+1].Decode(field); err != nil {
			kind := "string"
			if _, ok := field.(*bool); ok {
				kind = "bool"
			}
			return file{}, kindError(key, kind)
		}
	}
	return f, nil
}

func kindError(key, kind string) error {
	switch {
	case key == "":
		return errors.New("this is not an object of keys and values")
	case kind == "bool":
		return fmt.Errorf("%s is neither true nor false; write one of them, without quotes", key)
	}
	return fmt.Errorf("%s is not a string; put it in quotes", key)
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
