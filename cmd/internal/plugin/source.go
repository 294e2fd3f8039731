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
		config, err := n.azureConfig(c.File)
		if err != nil {
			return nil, err
		}
		return azure.New(config, azure.Options{Keep: n.keepToken(c.File)}), nil
	case mirror.DockerConfig:
		return dockerconfig.Read(n.path(c.File))
	case mirror.Exec:
		return execprovider.New(execprovider.Options{Command: n.path(c.Command), Args: c.Args, Env: c.Env})
	}
	return nil, fmt.Errorf("credential %q is of kind %q, which this version of the plugin does not know; install the plugin and the manager of one version", c.Name, c.Kind)
}
