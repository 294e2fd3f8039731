package azurejson

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/crypto/pkcs12"

	"github.com/mirrorcred/mirrorcred/credential"
)

// ByCertificate reports whether the service principal signs in with the certificate
// in CertPath.
func (f File) ByCertificate() bool {
	return !f.Managed && f.ClientSecret == "" && f.CertPath != "" && !f.ByToken()
}

// Certificate returns the certificate in a file that aadClientCertPath names, PEM or
// PKCS#12: the one that the private key in the file belongs to. It returns false if
// there is none; package azure says why.
func Certificate(data []byte, password credential.Secret) (*x509.Certificate, bool) {
	blocks := pemBlocks(data)
	if len(blocks) == 0 {
		blocks, _ = pkcs12.ToPEM(data, password.Reveal())
	}
	var keys []byte
	for _, b := range blocks {
		if b.Type != certificateType {
			keys = append(keys, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})...)
		}
	}
	for _, b := range blocks {
		if b.Type != certificateType {
			continue
		}
		one := pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})
		if _, err := tls.X509KeyPair(one, keys); err != nil {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		return cert, err == nil
	}
	return nil, false
}

const certificateType = "CERTIFICATE"

func pemBlocks(data []byte) []*pem.Block {
	var list []*pem.Block
	for bytes.Contains(data, []byte("-----BEGIN ")) {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		list = append(list, block)
	}
	return list
}
