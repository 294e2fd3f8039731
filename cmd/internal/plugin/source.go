package plugin

import (
	"fmt"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/credential/execprovider"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// source returns where a credential of the map comes from.
func (n *node) source(c mirror.Credential) (credential.Source, error) {
	switch c.Kind {
	case mirror.Azure:
		return n.azureSource(c)
	case mirror.DockerConfig:
		return dockerconfig.ReadBy(n.tree.Read, n.path(c.File))
	case mirror.Exec:
		command, err := n.tree.Resolve(n.path(c.Command))
		if err != nil {
			return nil, err
		}
		return execprovider.New(execprovider.Options{Command: command, Args: c.Args, Env: c.Env, Closed: c.Closed})
	case mirror.PodToken:
		return credential.PodToken{Username: c.Username}, nil
	}
	return nil, fmt.Errorf("credential %q is of kind %q, which this version of the plugin does not know; install the plugin and the manager of one version", c.Name, c.Kind)
}

// azureSource returns the source of an Azure credential, shared by all queries
// because it looks up a private cloud once.
func (n *node) azureSource(c mirror.Credential) (*azure.Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if source := n.sources[c.Name]; source != nil {
		return source, nil
	}
	config, err := n.azureConfig(c.File)
	if err != nil {
		return nil, err
	}
	o := n.azure
	o.TokenCache, o.CloudCache = n.keep("Entra ID", c.File), n.keep("resource manager", c.File)
	if c.Token != nil {
		o.ClientID, o.TenantID, o.RequireServiceAccount = c.ClientID, c.TenantID, c.Token.Required
	}
	if b := c.Binding; b != nil {
		if o.Binding, err = azure.ParseBinding(b.Name, b.APIServer, b.CA); err != nil {
			return nil, fmt.Errorf("credential %q: identity_binding: %w", c.Name, err)
		}
	}
	if n.sources == nil {
		n.sources = map[string]*azure.Source{}
	}
	n.sources[c.Name] = azure.New(config, o)
	return n.sources[c.Name], nil
}
