// Package cluster runs a real Kubernetes control plane inside a box: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, for a cluster of one
// node, and talks to it in plain HTTP and JSON.
//
// It knows nothing of mirrors and credentials, and starts neither containerd nor
// the kubelet: see package node for these. Start at [Start]; TestCluster in e2e is a
// whole example. In short:
//
//	k := startCluster(t)          // the control plane, stopped when the test ends
//	c := startContainerd(t, …)
//	joinCluster(t, k, c)          // a kubelet that registers the node "node"
//	err := k.Apply(ctx, manifest) // YAML, several documents at once, strict fields
//	err = k.Wait(ctx, time.Minute, cluster.Pod("default", "hello"), cluster.Ready)
//	token, err := k.Token(ctx, "default", "robot", "api://AzureADTokenExchange")
//	err = k.As(token).Do(ctx, "GET", "/api/v1/nodes", nil, nil) // with another's rights
//	events, err := k.Audit()      // who asked the API server for what
//	k.StopAPIServer()
//	err = k.StartAPIServer(ctx)
//
// A pod without hostNetwork gets an address of its own that the kubelet can reach,
// and finds the API server under the usual variables and with the usual files. There
// are no services and no DNS, and registries cannot be reached from a pod; images are
// pulled by the node, which can. An image must be pushed before a pod starts,
// the pause image among them.
package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/box"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// Where the control plane has its files. They last as long as it runs.
const (
	dir        = "/var/lib/controlplane"
	tokenFile  = dir + "/tokens.csv"
	auditFile  = dir + "/audit.log"
	policyFile = dir + "/audit-policy.yaml"
	privateKey = dir + "/service-accounts.key"
	publicKey  = dir + "/service-accounts.pub"
	certDir    = dir + "/certs"
	authority  = certDir + "/apiserver.crt" // the API server makes it, with its authority
	server     = "https://" + box.APIServer + ":443"
	etcdServer = "http://127.0.0.1:2379"
)

// The users that the API server knows besides service accounts, with their groups.
var users = map[string]string{
	"admin":                          "system:masters",
	"system:kube-controller-manager": "",
	"system:kube-scheduler":          "",
	"system:node:node":               "system:nodes",
}

// A Cluster is a running control plane. Its methods that make requests make them as
// a member of system:masters, who may do anything.
type Cluster struct {
	*Client
	bin    string
	tokens map[string]string // by user
	etcd   *node.Daemon
	api    *node.Daemon // nil while it is stopped
	others []*node.Daemon
}

// Start starts an empty cluster with the programs in bin and the network plugins in
// cni, and returns when a pod can be created in it. It has no node yet.
func Start(ctx context.Context, bin, cni string) (*Cluster, error) {
	c := &Cluster{bin: bin, tokens: map[string]string{}}
	if err := errors.Join(c.writeFiles(), network(cni)); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	c.etcd, err = node.StartDaemon(ctx, node.Answers(etcdServer+"/health"), filepath.Join(c.bin, "etcd"),
		"--data-dir="+dir+"/etcd", "--listen-client-urls="+etcdServer, "--advertise-client-urls="+etcdServer,
		"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn")
	if err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	for name, args := range map[string][]string{
		"kube-controller-manager": {
			"--root-ca-file=" + authority, "--service-account-private-key-file=" + privateKey, "--use-service-account-credentials",
		},
		"kube-scheduler": nil,
	} {
		file, err := c.Kubeconfig("system:" + name)
		if err != nil {
			return err
		}
		d, err := node.StartDaemon(ctx, atOnce, filepath.Join(c.bin, name),
			append(args, "--kubeconfig="+file, "--leader-elect=false", "--secure-port=0")...)
		if err != nil {
			return err
		}
		c.others = append(c.others, d)
	}
	// A pod cannot be created before its service account is there.
	return c.Wait(ctx, time.Minute, "/api/v1/namespaces/default/serviceaccounts/default", Exists)
}

// StartAPIServer starts the API server and waits until it is ready. [Start] does so
// first, and a test that has stopped it does so again.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	transport := &http.Transport{}
	d, err := node.StartDaemon(ctx, func(ctx context.Context) error {
		// A new one: the first API server makes its certificate.
		data, err := os.ReadFile(authority)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(data)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		c.Client = &Client{http: &http.Client{Transport: transport}, token: c.tokens["admin"]}
		return c.Do(ctx, http.MethodGet, "/readyz", nil, nil)
	}, filepath.Join(c.bin, "kube-apiserver"),
		"--etcd-servers="+etcdServer, "--bind-address="+box.APIServer, "--secure-port=443", "--cert-dir="+certDir,
		"--token-auth-file="+tokenFile, "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+publicKey,
		"--service-account-signing-key-file="+privateKey, "--service-cluster-ip-range="+box.APIServer+"/24",
		"--endpoint-reconciler-type=none", "--allow-privileged=true", "--profiling=false",
		"--audit-policy-file="+policyFile, "--audit-log-path="+auditFile)
	c.api = d
	return err
}

// StopAPIServer ends the API server. Pods run on, and the kubelet tries to reach it.
func (c *Cluster) StopAPIServer() {
	if c.api != nil {
		c.api.Stop()
		c.api = nil
	}
}

// Stop ends the control plane.
func (c *Cluster) Stop() {
	for _, d := range c.others {
		d.Stop()
	}
	c.StopAPIServer()
	if c.etcd != nil {
		c.etcd.Stop()
	}
}

// Tail returns the last lines of each program's log.
func (c *Cluster) Tail(lines int) string {
	text := ""
	for _, d := range append([]*node.Daemon{c.etcd, c.api}, c.others...) {
		if d != nil {
			text += d.Tail(lines)
		}
	}
	return text
}

// Kubeconfig writes a file with which a program is a user and returns its path.
// "system:node:node" is the kubelet.
func (c *Cluster) Kubeconfig(user string) (string, error) {
	token, ok := c.tokens[user]
	if !ok {
		return "", fmt.Errorf("the cluster has no user %q", user)
	}
	file := filepath.Join(dir, user+".kubeconfig")
	return file, os.WriteFile(file, []byte(kubeconfig(token)), 0o600)
}

// atOnce takes a program for ready when it runs.
func atOnce(context.Context) error { return nil }

func newToken() string {
	token := make([]byte, 16)
	rand.Read(token)
	return hex.EncodeToString(token)
}
