package azure_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure"
)

const secret = "CANARY-s3cret"

func TestReadConfig(t *testing.T) {
	tests := map[string]struct{ suffix, clientID, secret string }{
		`{}`: {"azurecr.io", "", ""},
		`{"cloud":"AzurePublicCloud","aadClientId":"id","aadClientSecret":"` + secret + `"}`: {"azurecr.io", "id", secret},
		`{"CLOUD":"azurechinacloud","AADCLIENTID":"id","aadclientsecret":"` + secret + `"}`:  {"azurecr.cn", "id", secret},
		"\ufeffcloud: AzureChinaCloud\n": {"azurecr.cn", "", ""},
		"# a comment\nCloud: AzureUSGovernmentCloud\nAadClientId: 123\naadClientSecret: \"" + secret + "\"\nlocation: {a: [b]}\n": {"azurecr.us", "123", secret},
		"\n {\"cloud\": \"AzureUSGovernment\", # YAML after all\n}":                                                               {"azurecr.us", "", ""},
		`{"cloud":"AzureGermanCloud","useManagedIdentityExtension":true,"aadClientId":"msi","aadClientSecret":"msi"}`:             {"azurecr.io", "", ""},
		`{"cloud":null,"vnetName":7,"aadClientId":"id"}`:                                                                          {"azurecr.io", "", ""},
	}
	for data, want := range tests {
		config, err := azure.ReadConfig([]byte(data))
		if err != nil {
			t.Errorf("ReadConfig(%q) = %v", data, err)
			continue
		}
		id, got, ok := config.ServicePrincipal()
		if config.RegistrySuffix() != want.suffix || id != want.clientID || got.Reveal() != want.secret || ok != (want.secret != "") {
			t.Errorf("ReadConfig(%q) = %s, %q, %q, %t; want %v", data, config.RegistrySuffix(), id, got.Reveal(), ok, want)
		}
		if text := fmt.Sprintf("%v %+v", config, config); strings.Contains(text, secret) {
			t.Errorf("ReadConfig(%q) prints as %s; want no secret", data, text)
		}
	}
}

func TestReadConfigErrors(t *testing.T) {
	tests := map[string]string{
		"":                                       "the file is empty",
		"  \n":                                   "the file is empty",
		"[1]":                                    "this is not an object of keys and values",
		"hello":                                  "this is not an object of keys and values",
		"{\n\"a\"":                               "line 2: this is not JSON",
		"a: b: " + secret:                        "this is neither JSON nor YAML; look for a tab, or for a value that needs quotes",
		"aadClientSecret: *" + secret:            "this is neither JSON nor YAML; look for a tab, or for a value that needs quotes",
		`{"aadClientSecret":["` + secret + `"]}`: "aadClientSecret is not a string; put it in quotes",
		`{"aadClientSecret":12345678}`:           "aadClientSecret is not a string; put it in quotes",
		"aadClientSecret: [" + secret + "]":      "aadClientSecret is not a string; put it in quotes",
		`{"useManagedIdentityExtension":"true"}`: "useManagedIdentityExtension is neither true nor false; write one of them, without quotes",
		"usemanagedidentityextension: " + secret: "usemanagedidentityextension is neither true nor false; write one of them, without quotes",
		`{"aadClientSecret":"` + secret + `" oops`: "line 1: this is not JSON",
	}
	for data, want := range tests {
		_, err := azure.ReadConfig([]byte(data))
		if err == nil || err.Error() != want {
			t.Errorf("ReadConfig(%q) = %v; want %s", data, err, want)
		}
	}
}

func FuzzReadConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"cloud":"x","aadClientSecret":"y"}`, "cloud: x\naadClientSecret: y\n", "aadClientSecret: *y", "{a: [", "\t", "a: &a [*a]", "? {}\n: x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := azure.ReadConfig(data)
		if err != nil && strings.ContainsAny(err.Error(), "\n\r\t") {
			t.Errorf("ReadConfig(%q) = %q; want one line", data, err)
		}
	})
}
