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
		return n.azureSource(c.File)
	case mirror.DockerConfig:
		return dockerconfig.Read(n.path(c.File))
	case mirror.Exec:
		return execprovider.New(execprovider.Options{Command: n.path(c.Command), Args: c.Args, Env: c.Env})
	}
	return nil, fmt.Errorf("credential %q is of kind %q, which this version of the plugin does not know; install the plugin and the manager of one version", c.Name, c.Kind)
}

// azureSource returns the source of an azure.json: one for all that ask by it,
// since it looks a private cloud up once.
func (n *node) azureSource(path string) (*azure.Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if source := n.sources[path]; source != nil {
		return source, nil
	}
	config, err := n.azureConfig(path)
	if err != nil {
		return nil, err
	}
	if n.sources == nil {
		n.sources = map[string]*azure.Source{}
	}
	o := n.azure
	o.Keep = n.keepToken(path)
	n.sources[path] = azure.New(config, o)
	return n.sources[path], nil
}
