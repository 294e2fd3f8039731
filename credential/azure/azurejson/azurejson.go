// Package azurejson reads azure.json, the file that says who a node is to Azure.
// What is made of that is in package azure; here is no more than its text, for
// programs that need not link what asks Azure. Start at [Read].
package azurejson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A File is azure.json; encoding/json ignores the case of its keys.
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

// Read parses an azure.json, JSON or YAML, as acr-credential-provider reads it:
// the case of keys does not matter and unknown ones are let pass. The error
// names the line or the key and holds no value; the caller adds the file's name.
//
// It is JSON where that is what the bytes look like. What looks like JSON and is
// not may still be YAML, of which JSON is a part: a comment or a comma too many.
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

// decodeYAML reads the keys that are known and leaves the rest undecoded.
// Errors of the YAML library quote the file (an unquoted secret that begins
// with "*" is an unknown anchor, by name), so none is handed on.
func decodeYAML(data []byte) (File, error) {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil {
		return File{}, errors.New("this is neither JSON nor YAML; look for a tab, or for a value that wants quotes")
	}
	if len(doc.Content) == 0 {
		return File{}, errors.New("the file is empty")
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return File{}, errors.New("this is not an object of keys and values")
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
			return File{}, kindError(key, kind)
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
