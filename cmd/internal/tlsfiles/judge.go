package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ca checks a file of certificates that containerd adds to its roots.
// containerd accepts the file if one block in it is a certificate.
func (c *Checker) ca(file, _ string) []Problem {
	data, problem := c.open(file)
	if problem != nil {
		return []Problem{*problem}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return []Problem{{File: file, Text: noCertificate(file, data)}}
	}
	if text := c.validity(certificates(data)...); text != "" {
		return []Problem{{File: file, Text: text, Expired: true}}
	}
	return nil
}

// client checks a certificate and its key, which may be in one file.
func (c *Checker) client(certFile, keyFile string) []Problem {
	cert, problem := c.open(certFile)
	key, problem2 := c.open(keyFile)
	var list []Problem
	if problem != nil {
		list = append(list, *problem)
	}
	if problem2 != nil && keyFile != certFile {
		list = append(list, *problem2)
	}
	if list != nil {
		return list
	}
	if pair, err := tls.X509KeyPair(cert, key); err != nil {
		return []Problem{pairProblem(certFile, keyFile, cert, key, err)}
	} else if leaf, err := x509.ParseCertificate(pair.Certificate[0]); err == nil {
		c.found = append(c.found, Client{certFile, leaf.NotBefore, leaf.NotAfter})
		if text := c.validity(leaf); text != "" {
			return []Problem{{File: certFile, Text: text, Expired: true}}
		}
	}
	return nil
}

// validity says why no certificate of a list is valid now, "" if one is. A list
// of roots may hold an old certificate beside the new one.
func (c *Checker) validity(list ...*x509.Certificate) string {
	text := ""
	for _, cert := range list {
		switch {
		case c.now.After(cert.NotAfter):
			text = fmt.Sprintf("holds a certificate that expired on %s; renew it", day(cert.NotAfter))
		case c.now.Before(cert.NotBefore):
			text = fmt.Sprintf("holds a certificate that is not valid before %s; check the clock and the certificate", day(cert.NotBefore))
		default:
			return ""
		}
	}
	return text
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// certificates returns those that x509 reads in a file of roots.
func certificates(data []byte) []*x509.Certificate {
	var list []*x509.Certificate
	for _, block := range blocks(data) {
		if block.Type != certificateType || len(block.Headers) > 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			list = append(list, cert)
		}
	}
	return list
}

const certificateType = "CERTIFICATE"

func blocks(data []byte) []*pem.Block {
	var list []*pem.Block
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return list
		}
		list, data = append(list, block), rest
	}
}

// find returns the first block whose type ends in a suffix, nil if there is
// none.
func find(data []byte, suffix string) *pem.Block {
	for _, block := range blocks(data) {
		if strings.HasSuffix(block.Type, suffix) {
			return block
		}
	}
	return nil
}

const keySuffix = "PRIVATE KEY"

// noCertificate says why a file holds no certificate that can be read.
func noCertificate(file string, data []byte) string {
	block := find(data, certificateType)
	switch {
	case len(strings.TrimSpace(string(data))) == 0:
		return "is empty; write the certificate there, in PEM"
	case block != nil && block.Type != certificateType:
		return fmt.Sprintf("holds a %q, which containerd does not read; run: openssl x509 -in %s -out %s", block.Type, file, file)
	case block != nil && len(block.Headers) > 0:
		return "holds a certificate with header lines, which containerd does not read; remove the lines between BEGIN and the blank line"
	case block != nil:
		_, err := x509.ParseCertificate(block.Bytes)
		return fmt.Sprintf("holds a certificate that cannot be read (%v); write it again", err)
	case find(data, keySuffix) != nil:
		return "holds a private key where the certificate should be; name the certificate"
	case len(blocks(data)) > 0:
		return fmt.Sprintf("holds a %q and no certificate; name the certificate", blocks(data)[0].Type)
	}
	if _, err := x509.ParseCertificates(data); err == nil {
		return fmt.Sprintf("is in DER, and containerd reads PEM; run: openssl x509 -inform DER -in %s -out %s", file, file)
	}
	return "holds no certificate in PEM; it must begin with -----BEGIN CERTIFICATE-----"
}

// pairProblem says why a certificate and a key do not match. err is what
// containerd gets, and has no part of the key.
func pairProblem(certFile, keyFile string, cert, key []byte, err error) Problem {
	at := func(file, format string, args ...any) Problem {
		return Problem{File: file, Text: fmt.Sprintf(format, args...)}
	}
	i := slices.IndexFunc(blocks(cert), func(b *pem.Block) bool { return b.Type == certificateType })
	keyBlock := find(key, keySuffix)
	switch {
	case i < 0:
		return at(certFile, "%s", noCertificate(certFile, cert))
	case keyBlock == nil && keyFile == certFile:
		return at(keyFile, "holds a certificate and no private key; add the key to it, or write [[\"client.crt\", \"client.key\"]]")
	case keyBlock == nil && find(key, certificateType) != nil:
		return at(keyFile, "holds a certificate where the private key should be; name the key")
	case keyBlock == nil:
		return at(keyFile, "holds no private key in PEM; it must begin with -----BEGIN PRIVATE KEY-----")
	case isEncrypted(keyBlock):
		return at(keyFile, "holds an encrypted private key, and containerd has no passphrase for it; run: openssl pkey -in %s -out %s.plain, and name that, with mode 0600", keyFile, keyFile)
	case strings.Contains(err.Error(), "does not match"):
		return at(keyFile, "holds a private key that does not belong to the certificate in %s; name the two that belong together", certFile)
	}
	if _, certErr := x509.ParseCertificate(blocks(cert)[i].Bytes); certErr != nil {
		return at(certFile, "holds a certificate that cannot be read (%v); write it again", certErr)
	}
	return at(keyFile, "is refused by containerd: %s; write certificate and key again", strings.TrimPrefix(err.Error(), "tls: "))
}

// isEncrypted reports whether a key is encrypted, by PKCS #8 or RFC 1421.
func isEncrypted(block *pem.Block) bool {
	return strings.HasPrefix(block.Type, "ENCRYPTED ") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}
