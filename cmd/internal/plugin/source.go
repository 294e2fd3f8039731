package plugin

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/sources"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/pullsecret"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// source returns where a credential of the map comes from.
func (n *node) source(c mirror.Credential) (credential.Source, error) {
	switch c.Kind {
	case mirror.PodToken:
		return credential.PodToken{Username: c.Username}, nil
	case mirror.PullSecret:
		return n.pullSecrets(c), nil
	case mirror.Azure:
		return n.azureSource(c)
	}
	return sources.Open(c, n.sourceOptions())
}

// pullSecrets returns the source of the pod's own logins. What says who the node is at
// the API server must belong to root: its owner could choose the server.
func (n *node) pullSecrets(c mirror.Credential) *pullsecret.Source {
	o := pullsecret.Options{
		Kubeconfig: c.File, Timeout: c.Timeout, ReadFile: n.readFileWithin,
		Program: func(path string) (string, error) { return n.tree.Resolve(n.path(path)) },
	}
	if c.Token != nil {
		o.Audience = c.Token.Audience
	}
	return pullsecret.New(o)
}

func (n *node) sourceOptions() sources.Options {
	return sources.Options{Root: n.root, Tree: n.tree, Azure: n.azure, ReadConfig: n.readOnce}
}

// azureSource returns the source of an Azure credential, shared by all queries
// because it looks up a private cloud once.
func (n *node) azureSource(c mirror.Credential) (credential.Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if source := n.sources[c.Name]; source != nil {
		return source, nil
	}
	o := n.sourceOptions()
	o.Azure.TokenCache, o.Azure.CloudCache = n.tokenCache("Entra ID", c.File), n.tokenCache("resource manager", c.File)
	source, err := sources.Open(c, o)
	if err != nil {
		return nil, err
	}
	if n.sources == nil {
		n.sources = map[string]credential.Source{}
	}
	n.sources[c.Name] = source
	return source, nil
}

// azureConfig reads an azure.json.
func (n *node) azureConfig(path string) (azure.Config, error) {
	return n.sourceOptions().AzureConfig(path)
}
