// Package tlstest makes certificates and keys for tests: good ones, and ones
// that people put in the wrong place.
package tlstest

import (
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"time"
)

// A Pair is a self-signed certificate and its key, in PEM.
type Pair struct{ Cert, Key []byte }

// New returns a pair that is valid between two times.
func New(from, to time.Time) Pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()), IsCA: true, BasicConstraintsValid: true,
		NotBefore: from, NotAfter: to,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	return Pair{encode("CERTIFICATE", cert, nil), encode("PRIVATE KEY", der, nil)}
}

// Files returns what a file that should hold a certificate or a key may hold, by
// a name for it. Those that begin with "good" are as they should be.
func Files(now time.Time) map[string][]byte {
	one, other := New(now.Add(-time.Hour), now.Add(time.Hour)), New(now.Add(-time.Hour), now.Add(time.Hour))
	old := New(now.Add(-2*time.Hour), now.Add(-time.Hour))
	early := New(now.Add(time.Hour), now.Add(2*time.Hour))
	cert, key := decode(one.Cert), decode(one.Key)
	torn := slices.Clone(cert)[:len(cert)/2]
	ciphered := make([]byte, len(key)/aes.BlockSize*aes.BlockSize)
	_, err := rand.Read(ciphered)
	check(err)
	return map[string][]byte{
		"good.crt":        one.Cert,
		"good.key":        one.Key,
		"good.pem":        join(one.Cert, one.Key),
		"good-2.pem":      join(one.Key, one.Cert),
		"other.crt":       other.Cert,
		"other.key":       other.Key,
		"expired.crt":     old.Cert,
		"expired.key":     old.Key,
		"early.crt":       early.Cert,
		"rotated.crt":     join(old.Cert, one.Cert),
		"two-old.crt":     join(old.Cert, early.Cert),
		"swapped.pem":     join(other.Cert, one.Key),
		"empty":           nil,
		"blank":           []byte("\n \n"),
		"text":            []byte("see the wiki for the certificate\n"),
		"der.crt":         cert,
		"der.key":         key,
		"cut.crt":         one.Cert[:len(one.Cert)/2],
		"torn.crt":        encode("CERTIFICATE", torn, nil),
		"torn-good.crt":   join(encode("CERTIFICATE", torn, nil), one.Cert),
		"good-cut.crt":    join(one.Cert, other.Cert[:len(other.Cert)/2]),
		"trusted.crt":     encode("TRUSTED CERTIFICATE", cert, nil),
		"x509.crt":        encode("X509 CERTIFICATE", cert, nil),
		"request.csr":     encode("CERTIFICATE REQUEST", cert, nil),
		"headed.crt":      encode("CERTIFICATE", cert, map[string]string{"subject": "x"}),
		"trusted-good":    join(encode("TRUSTED CERTIFICATE", cert, nil), one.Cert),
		"encrypted.key":   encode("ENCRYPTED PRIVATE KEY", ciphered, nil),
		"encrypted-1.key": encode("EC PRIVATE KEY", ciphered, map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}),
		"encrypted.pem":   join(one.Cert, encode("ENCRYPTED PRIVATE KEY", ciphered, nil)),
		"torn.key":        encode("PRIVATE KEY", key[:len(key)/2], nil),
		"public.key":      encode("PUBLIC KEY", key, nil),
		"parameters.key":  join(encode("EC PARAMETERS", []byte{6, 1, 0}, nil), one.Key),
		"noted.crt":       join([]byte("subject=CN = corp\n"), one.Cert, []byte("the end\n")),
	}
}

func encode(kind string, data []byte, headers map[string]string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data, Headers: headers})
}

func decode(data []byte) []byte {
	block, _ := pem.Decode(data)
	return block.Bytes
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}
