package azurejson

import (
	"os"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestCertificate reads the files that package azure signs in with, and those
// that it refuses.
func TestCertificate(t *testing.T) {
	for name, want := range map[string]bool{
		"client.pem": true, "client.pfx": true, "open.pfx": true,
		"encrypted.pem": false, "mismatch.pem": false, "modern.pfx": false,
	} {
		data, err := os.ReadFile("../testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var password credential.Secret
		if name != "open.pfx" {
			password = azuretest.Canary + "pfx"
		}
		cert, ok := Certificate(data, password)
		if ok != want || ok && !cert.NotAfter.After(cert.NotBefore) {
			t.Errorf("Certificate(%s) = %v, %t; want %t", name, cert, ok, want)
		}
	}
	if _, ok := Certificate([]byte("-----BEGIN nothing"), ""); ok {
		t.Error("half a line is a certificate")
	}
}

func TestByCertificate(t *testing.T) {
	for text, want := range map[string]bool{
		`{"aadClientCertPath":"/x"}`:                                              true,
		`{"aadClientCertPath":"/x","aadClientSecret":"s"}`:                        false,
		`{"aadClientCertPath":"/x","useManagedIdentityExtension":true}`:           false,
		`{"aadClientCertPath":"/x","aadFederatedTokenFile":"/t"}`:                 true,
		`{"aadFederatedTokenFile":"/t"}`:                                          false,
		`{"aadClientCertPath":"/x","useFederatedWorkloadIdentityExtension":true}`: false,
	} {
		f, err := Read([]byte(text))
		if err != nil || f.ByCertificate() != want {
			t.Errorf("Read(%s).ByCertificate() = %t, %v; want %t", text, f.ByCertificate(), err, want)
		}
	}
}
