package pullsecret

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A document is a kubeconfig (k8s.io/client-go v0.37.2, tools/clientcmd/api/v1,
// types.go), as far as it is read.
type document struct {
	Current  string `yaml:"current-context"`
	Contexts []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster cluster
	}
	Users []struct {
		Name string
		User user
	}
}

type cluster struct {
	Server     string
	CA         string `yaml:"certificate-authority"`
	CAData     string `yaml:"certificate-authority-data"`
	ServerName string `yaml:"tls-server-name"`
	Insecure   bool   `yaml:"insecure-skip-tls-verify"`
	Proxy      string `yaml:"proxy-url"`
}

type user struct {
	Cert      string            `yaml:"client-certificate"`
	CertData  string            `yaml:"client-certificate-data"`
	Key       string            `yaml:"client-key"`
	KeyData   credential.Secret `yaml:"client-key-data"`
	Token     credential.Secret
	TokenFile string `yaml:"tokenFile"`
	As        string
	Username  string
	Provider  yaml.Node `yaml:"auth-provider"`
	Exec      *command
}

// A kubeconfig is the part of a node's kubeconfig that its current context names.
type kubeconfig struct {
	dir        string // of the file: its paths begin there
	server     *url.URL
	proxy      *url.URL // nil for what the environment says
	serverName string
	cluster    cluster
	user       user
}

// parseKubeconfig parses a kubeconfig, as YAML or JSON. The error does not name the
// file, and never repeats what the YAML library says, which may quote the file.
func parseKubeconfig(path string, data []byte) (*kubeconfig, error) {
	var doc document
	if yaml.Unmarshal(data, &doc) != nil {
		return nil, errors.New("this is not a kubeconfig as YAML or JSON; look for a tab, or for a value that needs quotes")
	}
	k := &kubeconfig{dir: filepath.Dir(path)}
	if err := k.choose(&doc); err != nil {
		return nil, err
	}
	return k, k.check()
}

// choose takes the cluster and the user of the current context.
func (k *kubeconfig) choose(doc *document) error {
	var at, as string
	found := false
	for _, c := range doc.Contexts {
		if c.Name == doc.Current && !found {
			at, as, found = c.Context.Cluster, c.Context.User, true
		}
	}
	if !found {
		return fmt.Errorf("there is no context %.80q, which current-context names; set current-context to one of contexts", doc.Current)
	}
	found = false
	for _, c := range doc.Clusters {
		if c.Name == at && !found {
			k.cluster, found = c.Cluster, true
		}
	}
	if !found {
		return fmt.Errorf("there is no cluster %.80q, which the context names; add it to clusters", at)
	}
	for _, u := range doc.Users {
		if u.Name == as {
			k.user = u.User
			return nil
		}
	}
	return fmt.Errorf("there is no user %.80q, which the context names; add it to users", as)
}

// check refuses what would send the node's identity, or receive a secret, over a
// connection that is not verified.
func (k *kubeconfig) check() (err error) {
	if k.cluster.Insecure {
		return errors.New("insecure-skip-tls-verify: others on the network could take the node's identity; remove it, and write certificate-authority")
	}
	k.serverName = k.cluster.ServerName
	k.server, err = url.Parse(k.cluster.Server)
	switch {
	case err != nil || k.server.Host == "" || k.server.User != nil || k.server.RawQuery != "" || k.server.Fragment != "":
		return errors.New("server is not the URL of an API server; write it like \"https://10.0.0.1:6443\"")
	case k.server.Scheme != "https":
		return fmt.Errorf("server has the scheme %.20q, which is not encrypted; write https://", k.server.Scheme)
	}
	if k.cluster.Proxy != "" {
		if k.proxy, err = url.Parse(k.cluster.Proxy); err != nil || k.proxy.Host == "" {
			return errors.New("proxy-url is not a URL; write it like \"http://10.0.0.2:3128\", or remove it")
		}
	}
	switch {
	case k.user.As != "":
		return errors.New("the user has \"as\", and only the node's own identity is used; remove it")
	case !k.user.Provider.IsZero():
		return errors.New("the user has an auth-provider, which Kubernetes no longer knows; write exec")
	case k.user.Username != "":
		return errors.New("the user has a username and a password, which API servers do not accept; write a client certificate, tokenFile or exec")
	}
	return nil
}

// path returns the path of a file that the kubeconfig names.
func (k *kubeconfig) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(k.dir, name)
}

// roots returns the CAs to trust; nil means the system's.
func (k *kubeconfig) roots(ctx context.Context, o *Options) (*x509.CertPool, error) {
	pem, err := k.material(ctx, o, "certificate-authority", k.cluster.CA, credential.Secret(k.cluster.CAData))
	if err != nil || pem == nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("certificate-authority of the node's kubeconfig holds no certificate as PEM; name the CA of the API server")
	}
	return pool, nil
}

// material returns what a key of the kubeconfig holds, in the file itself as base64
// or in one that it names; nil for neither.
func (k *kubeconfig) material(ctx context.Context, o *Options, key, file string, data credential.Secret) ([]byte, error) {
	switch {
	case data != "":
		text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data.Reveal()), ""))
		if err != nil {
			return nil, fmt.Errorf("%s-data of the node's kubeconfig is not base64; write it as kubectl does", key)
		}
		return text, nil
	case file != "":
		text, err := o.ReadFile(ctx, k.path(file))
		if err != nil {
			return nil, fmt.Errorf("%s of the node's kubeconfig: %w", key, err)
		}
		return text, nil
	}
	return nil, nil
}
