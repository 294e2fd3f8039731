package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// auditPolicy has each request written down, without what is in it.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// networkFile is the configuration of the node's network: a pair of devices for each
// pod, one end in the pod and one on the node, and nothing beyond.
const (
	networkDir  = "/etc/cni/net.d"
	networkFile = networkDir + "/10-pods.conflist"
	networkText = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {
  "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`
	networkBin   = "/opt/cni/bin"
	networkState = "/var/lib/cni"
)

// writeFiles makes the tokens and keys, and removes what the cluster before left.
func (c *Cluster) writeFiles() error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(certDir, 0o700); err != nil {
		return err
	}
	var tokens strings.Builder
	for user, groups := range users {
		c.tokens[user] = newToken()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", c.tokens[user], user, user, groups)
	}
	return errors.Join(
		os.WriteFile(tokenFile, []byte(tokens.String()), 0o600),
		os.WriteFile(policyFile, []byte(auditPolicy), 0o600),
		writeKeys(),
	)
}

// writeKeys makes the keys with which service-account tokens are signed.
func writeKeys() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(privateKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(publicKey, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600),
	)
}

// network has containerd give each pod an address of its own.
func network(cni string) error {
	if err := os.RemoveAll(networkState); err != nil {
		return err
	}
	for _, dir := range []string{networkBin, networkDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	programs, err := filepath.Glob(filepath.Join(cni, "*"))
	if err != nil {
		return err
	}
	for _, program := range programs {
		if err := os.Symlink(program, filepath.Join(networkBin, filepath.Base(program))); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return os.WriteFile(networkFile, []byte(networkText), 0o644)
}

func kubeconfig(token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: cluster
contexts: [{name: cluster, context: {cluster: cluster, user: user}}]
clusters: [{name: cluster, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {token: %q}}]
`, server, authority, token)
}
