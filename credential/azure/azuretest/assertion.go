package azuretest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// assertionType says that an assertion is a token (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// prove checks the proof in a request for a token: one secret or one
// assertion. It returns what Entra ID answers to a wrong one, or "".
func (c *Cloud) prove(r *http.Request, id, tenant string) string {
	secret, assertion := r.PostForm["client_secret"], r.PostForm["client_assertion"]
	switch {
	case len(secret)+len(assertion) != 1:
		return "AADSTS7000218: The request body must contain one of: client_assertion, client_secret."
	case len(assertion) == 1 && r.PostFormValue("client_assertion_type") != assertionType:
		return "AADSTS50012: client_assertion_type is not jwt-bearer."
	case len(secret) == 1:
		if id != c.opts.ClientID || secret[0] != c.opts.ClientSecret {
			return "AADSTS7000215: Invalid client secret provided."
		}
		return ""
	}
	if f, ok := c.federation(id, tenant); ok {
		if !f.accepts(assertion[0]) {
			return "AADSTS700213: No matching federated identity record found for presented assertion."
		}
		return ""
	}
	if c.opts.Certificate == nil || !signed(assertion[0], c.opts.Certificate, id, requestURL(r), c.opts.Now()) {
		return "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application."
	}
	return ""
}

// signed reports whether an assertion is id's, is for audience, is of now, and
// is signed with the key of cert, which its header names
// (learn.microsoft.com/entra/identity-platform/certificate-credentials).
func signed(assertion string, cert *x509.Certificate, id, audience string, now time.Time) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct {
		Algorithm  string   `json:"alg"`
		Thumbprint string   `json:"x5t#S256"`
		Chain      []string `json:"x5c"`
	}
	var claims struct {
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		From     int64  `json:"nbf"`
		To       int64  `json:"exp"`
		ID       string `json:"jti"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return false
	}
	sum := sha256.Sum256(cert.Raw)
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok, header.Algorithm != "PS256":
		return false
	case strings.TrimRight(header.Thumbprint, "=") != base64.RawStdEncoding.EncodeToString(sum[:]):
		return false
	case len(header.Chain) == 0, header.Chain[0] != base64.StdEncoding.EncodeToString(cert.Raw):
		return false
	case claims.Audience != audience, claims.Issuer != id, claims.Subject != id, claims.ID == "":
		return false
	case claims.From > now.Unix()+1, claims.To < now.Unix(), claims.To > now.Add(time.Hour).Unix():
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, nil) == nil
}

func decodePart(part string, v any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, v) == nil
}
