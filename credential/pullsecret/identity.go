package pullsecret

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/internal/child"
)

// An identity is how the node proves to the API server who it is.
type identity struct {
	certificates []tls.Certificate
	// token is a pointer because fmt calls no method of an unexported field: it would
	// print the token.
	token *credential.Secret
}

// identity returns the node's identity, from the files as they are now: the
// kubelet's certificate is renewed while it runs.
func (k *kubeconfig) identity(ctx context.Context, o *Options) (*identity, error) {
	u := k.user
	if u.Exec != nil {
		return k.run(ctx, o, u.Exec)
	}
	me := &identity{}
	cert, err := k.material(ctx, o, "client-certificate", u.Cert, credential.Secret(u.CertData))
	if err != nil {
		return nil, err
	}
	if cert != nil {
		key, err := k.material(ctx, o, "client-key", u.Key, u.KeyData)
		if err != nil {
			return nil, err
		}
		if me.certificates, err = pair(o, cert, key); err != nil {
			return nil, err
		}
	}
	token := u.Token
	if u.TokenFile != "" {
		data, err := o.ReadFile(ctx, k.path(u.TokenFile))
		if err != nil {
			return nil, fmt.Errorf("tokenFile of the node's kubeconfig: %w", err)
		}
		token = credential.Secret(strings.TrimSpace(string(data)))
	}
	return me, me.set(token)
}

// set adds a token, and refuses an identity that proves nothing.
func (i *identity) set(token credential.Secret) error {
	switch {
	case token != "" && !token.IsToken():
		return errors.New("the token of the node's kubeconfig holds spaces or control characters; write it on one line")
	case token != "":
		i.token = &token
	case len(i.certificates) == 0:
		return errors.New("the user of the node's kubeconfig has no client certificate, token or exec; write the kubeconfig of the kubelet as kubeconfig of the credential")
	}
	return nil
}

// pair parses a certificate and its key, both as PEM, and checks that it is valid
// now. The error repeats neither.
func pair(o *Options, cert, key []byte) ([]tls.Certificate, error) {
	c, err := tls.X509KeyPair(cert, key)
	switch {
	case err != nil:
		return nil, errors.New("the client certificate of the node's kubeconfig and its key do not go together as PEM; write both as the kubelet has them")
	case c.Leaf != nil && o.Now().After(c.Leaf.NotAfter):
		return nil, fmt.Errorf("the client certificate of the node's kubeconfig expired at %s; see in the kubelet's log why it was not renewed", c.Leaf.NotAfter.UTC().Format("2006-01-02 15:04"))
	}
	return []tls.Certificate{c}, nil
}

// A command is the program of a kubeconfig that gets the node's identity, as on EKS
// and GKE (k8s.io/client-go v0.37.2, tools/clientcmd/api/v1, ExecConfig).
type command struct {
	Version         string `yaml:"apiVersion"`
	Command         string
	Args            []string
	Env             []struct{ Name, Value string }
	Cluster         bool   `yaml:"provideClusterInfo"`
	InteractiveMode string `yaml:"interactiveMode"`
}

// The versions of the protocol of such programs
// (k8s.io/client-go v0.37.2, pkg/apis/clientauthentication).
const execV1, execV1beta1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"

// run runs the program of a kubeconfig.
func (k *kubeconfig) run(ctx context.Context, o *Options, c *command) (*identity, error) {
	fault := func(err error) error { return fmt.Errorf("exec of the node's kubeconfig: %w", err) }
	if c.Version != execV1 && c.Version != execV1beta1 {
		return nil, fault(fmt.Errorf("apiVersion %.80q is unknown; write %q", c.Version, execV1))
	}
	if c.InteractiveMode == "Always" {
		return nil, fault(errors.New("interactiveMode is Always, and a node has no terminal; write \"Never\""))
	}
	program, err := k.program(o, c.Command)
	if err != nil {
		return nil, fault(err)
	}
	info, err := k.execInfo(ctx, o, c)
	if err != nil {
		return nil, fault(err)
	}
	env, secrets := []string{"KUBERNETES_EXEC_INFO=" + info}, []credential.Secret(nil)
	for _, e := range c.Env {
		env = append(env, e.Name+"="+e.Value)
		secrets = append(secrets, credential.Secret(e.Value))
	}
	data, err := child.Program{Path: program, Args: c.Args, Env: env, Secrets: secrets}.Run(ctx)
	if err != nil {
		return nil, fault(err)
	}
	me, err := parseExec(o, c.Version, data)
	if err != nil {
		return nil, fault(fmt.Errorf("%q: %w", program, err))
	}
	return me, nil
}

// program returns the path of a kubeconfig's program: a name alone is looked up in
// PATH, and another relative path begins at the kubeconfig.
func (k *kubeconfig) program(o *Options, name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("it has no command; write the path of a program")
	case !strings.Contains(name, "/"):
		found, err := exec.LookPath(name)
		if err != nil || !filepath.IsAbs(found) {
			return "", fmt.Errorf("there is no %.80q in PATH; write its absolute path", name)
		}
		name = found
	}
	return o.Program(k.path(name))
}

// parseExec parses what such a program prints. The error repeats nothing of it.
func parseExec(o *Options, version string, data []byte) (*identity, error) {
	var answer struct {
		Version string `json:"apiVersion"`
		Kind    string `json:"kind"`
		Status  *struct {
			Token credential.Secret `json:"token"`
			Cert  string            `json:"clientCertificateData"`
			Key   credential.Secret `json:"clientKeyData"`
		} `json:"status"`
	}
	if json.Unmarshal(data, &answer) != nil || answer.Kind != "ExecCredential" || answer.Version != version || answer.Status == nil {
		return nil, fmt.Errorf("it prints no ExecCredential of %s with a status; check its arguments", version)
	}
	me := &identity{}
	if answer.Status.Cert != "" {
		var err error
		if me.certificates, err = pair(o, []byte(answer.Status.Cert), []byte(answer.Status.Key.Reveal())); err != nil {
			return nil, err
		}
	}
	return me, me.set(answer.Status.Token)
}

// execInfo returns what such a program is told about the cluster.
func (k *kubeconfig) execInfo(ctx context.Context, o *Options, c *command) (string, error) {
	type clusterInfo struct {
		Server     string `json:"server"`
		ServerName string `json:"tls-server-name,omitempty"`
		CA         string `json:"certificate-authority-data,omitempty"`
		Proxy      string `json:"proxy-url,omitempty"`
	}
	type spec struct {
		Cluster     *clusterInfo `json:"cluster,omitempty"`
		Interactive bool         `json:"interactive"`
	}
	var says spec
	if c.Cluster {
		ca, err := k.material(ctx, o, "certificate-authority", k.cluster.CA, credential.Secret(k.cluster.CAData))
		if err != nil {
			return "", err
		}
		says.Cluster = &clusterInfo{k.cluster.Server, k.cluster.ServerName, base64.StdEncoding.EncodeToString(ca), k.cluster.Proxy}
	}
	info, err := json.Marshal(struct {
		Version string `json:"apiVersion"`
		Kind    string `json:"kind"`
		Spec    spec   `json:"spec"`
	}{c.Version, "ExecCredential", says})
	return string(info), err
}
