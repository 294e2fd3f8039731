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
	cloud    cloud
	tenant   string
	managed  bool   // useManagedIdentityExtension
	assigned string // userAssignedIdentityID; "" is the system's identity
	clientID string
	// secret is behind a pointer since fmt calls no method on an unexported
	// field: it would print the text. nil where there is none.
	secret *credential.Secret

	// Named in the file, and not supported: what to say when a credential
	// is wanted.
	certificate, federated, adfs bool
	resourceManager, cloudName   string
}

// A cloud is a national cloud: where its Entra ID is, how its registries end,
// and its resource manager, which azure.json may name.
type cloud struct {
	authority, suffix, manager string
}

// cloudNamed returns the cloud of a name, whose case does not matter. Every
// name that is not known is the public cloud's, as in acr-credential-provider
// (kubernetes-sigs/cloud-provider-azure, pkg/azclient/cloud.go).
func cloudNamed(name string) cloud {
	switch strings.ToLower(name) {
	case "azurechinacloud":
		return cloud{"https://login.chinacloudapi.cn/", "azurecr.cn", "management.chinacloudapi.cn"}
	case "azureusgovernment", "azureusgovernmentcloud":
		return cloud{"https://login.microsoftonline.us/", "azurecr.us", "management.usgovcloudapi.net"}
	}
	return cloud{"https://login.microsoftonline.com/", "azurecr.io", "management.azure.com"}
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
	Federated               bool   `json:"useFederatedWorkloadIdentityExtension"`
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
	var secret *credential.Secret
	if f.ClientSecret != "" {
		secret = (*credential.Secret)(&f.ClientSecret)
	}
	return Config{
		cloud:           cloudNamed(f.Cloud),
		tenant:          f.TenantID,
		managed:         f.Managed,
		assigned:        f.Assigned,
		clientID:        f.ClientID,
		secret:          secret,
		certificate:     f.CertPath != "",
		federated:       f.Federated,
		adfs:            strings.EqualFold(f.IdentitySystem, "adfs"),
		resourceManager: f.ResourceManagerEndpoint,
		cloudName:       f.Cloud,
	}, nil
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
		"aadclientid": &f.ClientID, "aadclientsecret": &f.ClientSecret, "aadclientcertpath": &f.CertPath,
		"usefederatedworkloadidentityextension": &f.Federated,
		"identitysystem":                        &f.IdentitySystem, "resourcemanagerendpoint": &f.ResourceManagerEndpoint,
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
// without a leading dot, such as "azurecr.io".
func (c Config) RegistrySuffix() string { return c.cloud.suffix }

// usable returns why no credential can be got by this configuration, or nil.
func (c Config) usable() error {
	if c.resourceManager != "" {
		u, err := url.Parse(c.resourceManager)
		if err != nil || !strings.EqualFold(u.Hostname(), c.cloud.manager) {
			return errors.New("resourceManagerEndpoint: the endpoints of a private cloud are not looked up; remove it if the cloud is a public one, and set cloud")
		}
	}
	if strings.EqualFold(c.cloudName, "AzureStackCloud") {
		return fmt.Errorf("cloud %q: a private cloud is not supported; the registries of AzureCloud, AzureChinaCloud and AzureUSGovernment are", c.cloudName)
	}
	if c.managed {
		return nil
	}
	const instead = "set useManagedIdentityExtension: true, or aadClientId and aadClientSecret"
	_, _, ok := c.ServicePrincipal()
	switch {
	case c.adfs:
		return errors.New("identitySystem: AD FS is not supported; " + instead + " of Entra ID")
	case ok && c.tenant == "":
		return errors.New("tenantId is missing; set the tenant of aadClientId")
	case ok:
		return nil
	case c.certificate:
		return errors.New("aadClientCertPath: a service principal's certificate is not supported; " + instead)
	case c.federated:
		return errors.New("useFederatedWorkloadIdentityExtension: a federated token is not supported; " + instead)
	case c.clientID != "":
		return errors.New("aadClientSecret is missing; set it, or useManagedIdentityExtension: true")
	}
	return errors.New("no identity is named; " + instead)
}
