// Package sources makes the source of a credential that the node has by itself:
// from azure.json, from a docker config.json, or from another vendor's
// provider.
//
// It knows the node's files, but not who asks or why: the plugin asks for a pull, and
// mirrorcred deliver for a registry. Sources that need a pod's token are the
// plugin's own. Start at [Open].
package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/credential/execprovider"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Options say where the node's files are.
type Options struct {
	// Root is the directory that all paths of the node are below; "" for the
	// machine's own.
	Root string
	// Tree is the same, which no link leaves.
	Tree *input.Root
	// Azure are the options of an Azure source. Its identity comes from the
	// credential.
	Azure azure.Options
	// ReadConfig reads an azure.json.
	ReadConfig func(path string) ([]byte, error)
}

// path returns the path on this machine of a path on the node.
func (o Options) path(name string) string {
	return filepath.Join(o.Root, name)
}

// Open returns where a credential of the map comes from. It reads the file that the
// credential names, and runs nothing yet.
func Open(c mirror.Credential, o Options) (credential.Source, error) {
	switch c.Kind {
	case mirror.Azure:
		source, err := o.azureSource(c)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return source, nil
	case mirror.DockerConfig:
		source, err := dockerconfig.Read(o.Tree.Read, o.path(c.File))
		if err != nil {
			return nil, err
		}
		return source, nil
	case mirror.Exec:
		command, err := o.Tree.Resolve(o.path(c.Command))
		if err != nil {
			return nil, err
		}
		source, err := execprovider.New(execprovider.Options{Command: command, Args: c.Args, Env: c.Env, Closed: c.Closed})
		if err != nil {
			return nil, err
		}
		return source, nil
	}
	return nil, fmt.Errorf("credential %q is of kind %q, which this version does not know; install the plugin and the manager of one version", c.Name, c.Kind)
}

func (o Options) azureSource(c mirror.Credential) (*azure.Source, error) {
	config, err := o.AzureConfig(c.File)
	if err != nil {
		return nil, err
	}
	settings := o.Azure
	if c.Token != nil {
		settings.ClientID, settings.TenantID, settings.RequireServiceAccount = c.ClientID, c.TenantID, c.Token.Required
	}
	if b := c.Binding; b != nil {
		if settings.Binding, err = azure.ParseBinding(b.Name, b.APIServer, b.CA); err != nil {
			return nil, fmt.Errorf("credential %q: identity_binding: %w", c.Name, err)
		}
	}
	return azure.New(config, settings), nil
}

// AzureConfig reads an azure.json.
func (o Options) AzureConfig(path string) (azure.Config, error) {
	data, err := o.ReadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return azure.Config{}, fmt.Errorf("%s does not exist; create it, or name another file: config under [credential.azure] in the map, or the plugin's argument", o.path(path))
	}
	if err != nil {
		return azure.Config{}, err
	}
	config, err := azure.ReadConfig(data)
	if err != nil {
		return azure.Config{}, fmt.Errorf("%s: %w", o.path(path), err)
	}
	return config, nil
}
