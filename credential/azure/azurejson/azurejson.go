// Package azurejson reads azure.json, the file with a node's identity in Azure.
// Package azure uses that identity; this package only parses the file, for
// programs that should not link the Azure libraries. Start at [Read].
package azurejson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A File is an azure.json. The case of its keys does not matter.
type File struct {
	Cloud                   string            `json:"cloud"`
	TenantID                string            `json:"tenantId"`
	Managed                 bool              `json:"useManagedIdentityExtension"`
	Assigned                string            `json:"userAssignedIdentityID"`
	ClientID                string            `json:"aadClientId"`
	ClientSecret            credential.Secret `json:"aadClientSecret"`
	CertPath                string            `json:"aadClientCertPath"`
	CertPassword            credential.Secret `json:"aadClientCertPassword"`
	Federated               bool              `json:"useFederatedWorkloadIdentityExtension"`
	TokenFile               string            `json:"aadFederatedTokenFile"`
	IdentitySystem          string            `json:"identitySystem"`
	ResourceManagerEndpoint string            `json:"resourceManagerEndpoint"`
}

// HasSecret reports whether the file holds a password, so that only its owner should be
// able to read it.
func (f File) HasSecret() bool { return f.ClientSecret != "" || f.CertPassword != "" }

// ByToken reports whether the service principal signs in with a token from a file. If
// azure.json also names a certificate, useFederatedWorkloadIdentityExtension decides.
func (f File) ByToken() bool { return f.Federated || f.TokenFile != "" && f.CertPath == "" }

// Incomplete says which identity of the node is missing in the file and what to set;
// nil if it names one.
func (f File) Incomplete() error {
	if f.Managed {
		return nil
	}
	const instead = "set useManagedIdentityExtension: true, or aadClientId and aadClientSecret"
	switch {
	case strings.EqualFold(f.IdentitySystem, "adfs"):
		return errors.New("identitySystem: AD FS is not supported; " + instead + " of Entra ID")
	case f.ClientID == "" && f.ClientSecret == "" && f.CertPath == "" && !f.ByToken():
		return errors.New("no identity is named; " + instead)
	case f.ClientID == "":
		return errors.New("aadClientId is missing; set it, or useManagedIdentityExtension: true")
	case f.ClientSecret == "" && f.CertPath == "" && !f.ByToken():
		return errors.New("aadClientSecret is missing; set it, aadClientCertPath or aadFederatedTokenFile, or useManagedIdentityExtension: true")
	case f.ClientSecret == "" && f.ByToken() && f.TokenFile == "":
		return errors.New("useFederatedWorkloadIdentityExtension is true and aadFederatedTokenFile is missing; set it to the path of the token")
	case f.TenantID == "":
		return errors.New("tenantId is missing; set the tenant of aadClientId")
	}
	return nil
}

// Suffix returns the suffix of the registries in the file's cloud, such as "azurecr.io".
// It returns false for a private cloud, since only its resource manager knows the suffix.
// An unknown name means the public cloud, as in acr-credential-provider
// (kubernetes-sigs/cloud-provider-azure, pkg/azclient/cloud.go).
func (f File) Suffix() (string, bool) {
	public := f.ResourceManagerEndpoint == "" && !strings.EqualFold(f.Cloud, "AzureStackCloud")
	switch strings.ToLower(f.Cloud) {
	case "azurechinacloud":
		return "azurecr.cn", public
	case "azureusgovernment", "azureusgovernmentcloud":
		return "azurecr.us", public
	}
	return "azurecr.io", public
}

// Read parses an azure.json, as JSON or YAML, as acr-credential-provider does:
// the case of keys does not matter, and unknown keys are ignored. The error
// names the line or the key and has no value in it; the caller adds the name of
// the file.
//
// A file that looks like JSON but is invalid may still be YAML, for example if it has a
// comment or a trailing comma.
func Read(data []byte) (File, error) {
	var f File
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return decodeYAML(data)
	}
	err := json.Unmarshal(data, &f)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return File{}, kindError(kind.Field, kind.Type.Kind().String())
	case errors.As(err, &syntax):
		if f, err := decodeYAML(data); err == nil {
			return f, nil
		}
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return File{}, fmt.Errorf("line %d: this is not JSON", line)
	case err != nil:
		return File{}, errors.New("this is not a JSON object")
	}
	return f, nil
}

// decodeYAML reads the known keys and leaves the rest undecoded. It does not pass on
// errors of the YAML library, because they quote the file: an unquoted secret that
// begins with "*" is reported as an unknown anchor, with its name.
func decodeYAML(data []byte) (File, error) {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil {
		return File{}, errors.New("this is neither JSON nor YAML; look for a tab, or for a value that needs quotes")
	}
	if len(doc.Content) == 0 {
		return File{}, errors.New("the file is empty")
	}
	if behind(doc.Content[0]).Kind != yaml.MappingNode {
		return File{}, errors.New("this is not an object of keys and values")
	}
	list, ok := pairs(doc.Content[0], 0)
	if !ok {
		return File{}, errors.New("a merge key \"<<\" does not refer to an object, or nests too deep; write its keys out")
	}
	var f File
	fields := map[string]any{
		"cloud": &f.Cloud, "tenantid": &f.TenantID,
		"usemanagedidentityextension": &f.Managed, "userassignedidentityid": &f.Assigned,
		"aadclientid": &f.ClientID, "aadclientsecret": &f.ClientSecret,
		"aadclientcertpath": &f.CertPath, "aadclientcertpassword": &f.CertPassword,
		"usefederatedworkloadidentityextension": &f.Federated, "aadfederatedtokenfile": &f.TokenFile,
		"identitysystem": &f.IdentitySystem, "resourcemanagerendpoint": &f.ResourceManagerEndpoint,
	}
	for _, p := range list {
		key := behind(p.key).Value
		field, ok := fields[strings.ToLower(key)]
		if !ok {
			continue
		}
		if err := p.value.Decode(field); err != nil {
			kind := "string"
			if _, ok := field.(*bool); ok {
				kind = "bool"
			}
			return File{}, kindError(key, kind)
		}
	}
	return f, nil
}

// A pair is a key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// mostPairs and mostMerges limit what merge keys can expand to: a short file can expand
// to billions of pairs.
const mostPairs, mostMerges = 1000, 16

// pairs returns the pairs of a mapping, with merged pairs in the place of their merge
// key. Of two pairs with one key the later counts. By the YAML specification a mapping's
// own pairs always win (yaml.org/type/merge.html), but the library of
// acr-credential-provider reads it this way (sigs.k8s.io/yaml v1.6,
// goyaml.v2/decode.go). False means that n is not a mapping, or expands to too much.
func pairs(n *yaml.Node, depth int) ([]pair, bool) {
	n = behind(n)
	if n.Kind != yaml.MappingNode || depth > mostMerges {
		return nil, false
	}
	var list []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			list = append(list, pair{n.Content[i], n.Content[i+1]})
			continue
		}
		from := []*yaml.Node{n.Content[i+1]}
		if list := behind(from[0]); list.Kind == yaml.SequenceNode {
			from = list.Content
		}
		for _, one := range slices.Backward(from) {
			more, ok := pairs(one, depth+1)
			if list = append(list, more...); !ok || len(list) > mostPairs {
				return nil, false
			}
		}
	}
	return list, true
}

// behind returns the node that an alias refers to.
func behind(n *yaml.Node) *yaml.Node {
	for range mostMerges {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
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
