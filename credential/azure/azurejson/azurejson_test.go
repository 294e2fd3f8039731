package azurejson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/yaml"
)

// asProvider reads azure.json as acr-credential-provider does
// (kubernetes-sigs/cloud-provider-azure, pkg/provider/config/azure_auth.go).
func asProvider(data []byte) (File, error) {
	var f File
	text, err := kyaml.YAMLToJSON(data)
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	return f, err
}

const identity = "base: &base\n  tenantId: t\n  useManagedIdentityExtension: true\n"

// TestAnchors checks what an azure.json with anchors and merge keys says against
// what acr-credential-provider makes of it.
func TestAnchors(t *testing.T) {
	for name, text := range map[string]string{
		"plain":                       "tenantId: t\naadClientId: c\n",
		"an alias as a value":         "x: &id c\naadClientId: *id\n",
		"a merge key":                 identity + "<<: *base\naadClientId: c\n",
		"before the anchored":         "tenantId: own\n" + identity + "<<: *base\n",
		"own keys before a merge":     identity + "tenantId: own\n<<: *base\n",
		"own keys behind a merge":     identity + "<<: *base\ntenantId: own\n",
		"a list of merges":            identity + "more: &more {tenantId: u, cloud: AzureChinaCloud}\n<<: [*base, *more]\n",
		"a list the other way round":  identity + "more: &more {tenantId: u, cloud: AzureChinaCloud}\n<<: [*more, *base]\n",
		"merges of merges":            identity + "more: &more {<<: *base, cloud: AzureChinaCloud}\n<<: *more\n",
		"a mapping as it is":          "<<: {tenantId: t, aadClientSecret: s}\n",
		"the case of keys":            "base: &base {TENANTID: t}\n<<: *base\n",
		"a quoted key is not a merge": "\"<<\": {tenantId: t}\naadClientId: c\n",
		"an anchored root":            "&root\ntenantId: t\n",
		"flow that is not JSON":       "{x: &id c, aadClientId: *id}",
		"a secret behind an anchor":   "s: &s c4n4ry\naadClientSecret: *s\n",
	} {
		want, err := asProvider([]byte(text))
		if err != nil {
			t.Fatalf("%s: acr-credential-provider refuses it: %v", name, err)
		}
		got, err := Read([]byte(text))
		if err != nil || got != want {
			t.Errorf("%s: Read(%q) = %+v, %v; want %+v", name, text, got, err, want)
		}
	}
}

// TestBadAnchors checks that what cannot be read is refused without its text, and
// soon.
func TestBadAnchors(t *testing.T) {
	bomb := "a0: &a0 {tenantId: c4n4ry, x1: 1, x2: 2, x3: 3, x4: 4, x5: 5, x6: 6, x7: 7, x8: 8}\n"
	for i := 1; i < 12; i++ {
		a := fmt.Sprintf("*a%d", i-1)
		bomb += fmt.Sprintf("a%d: &a%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(a+", ", 9), ", "))
	}
	for name, text := range map[string]string{
		"no such anchor":     "tenantId: *c4n4ry\n",
		"a merge of a text":  "s: &s c4n4ry\n<<: *s\n",
		"a merge of a list":  "<<: [c4n4ry]\n",
		"a merge of itself":  "x: &x {<<: *x, tenantId: c4n4ry}\n<<: *x\n",
		"a value of itself":  "tenantId: &x [*x]\n",
		"too many":           bomb + "<<: *a11\n",
		"an alias of a list": "s: &s [c4n4ry]\ntenantId: *s\n",
	} {
		if _, err := Read([]byte(text)); err == nil || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: Read(%q): %v; want an error without the text", name, text, err)
		}
	}
}
