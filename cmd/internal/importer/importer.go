// Package importer makes a mirror map from the settings of other programs:
// hosts.toml files, the registries.yaml of k3s and RKE2, the mirrors in
// containerd's own configuration, and the --registry-mirror argument of
// acr-credential-provider.
//
// It writes only what the map's own parser accepts. If a setting cannot be in a
// map, it is a [Loss], with its line; so is a password, because a map holds
// none. The package reads the files that it is given and writes none. Start at
// [Import].
package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Options say how to import. The zero value is safe.
type Options struct {
	// Share writes share_credential = true if the imported mirror needs it to
	// stay as it is, because containerd offers the credential of a pull to each
	// registry in its list. Without it such a mirror loses its fallback to the
	// source, or is left out, and that is a loss.
	Share bool
}

// A Loss is something in an imported file that the map does not have.
type Loss struct {
	File string
	Line int    // 0 for the whole file
	Text string // what is lost, and what to do
}

// String returns the loss as file:line: text.
func (l Loss) String() string {
	if l.Line == 0 {
		return fmt.Sprintf("%s: %s", l.File, l.Text)
	}
	return fmt.Sprintf("%s:%d: %s", l.File, l.Line, l.Text)
}

// A Result is the outcome of an import.
type Result struct {
	Map    []byte // with comments; mirror.Parse accepts it
	Losses []Loss // in the order of the files
}

// Import reads what is at a path, or the value of a --registry-mirror flag, and
// returns a map that means the same. It recognises the program by its settings:
//
//   - a directory of hosts.toml files, such as /etc/containerd/certs.d, or one
//     hosts.toml in a directory named for its host
//   - k3s' and RKE2's registries.yaml
//   - containerd's config.toml with registry.mirrors or registry.configs
//   - a kubelet's CredentialProviderConfig with a --registry-mirror argument
//   - "--registry-mirror=mcr.microsoft.com:contoso.azurecr.io"
//
// If it is something else, the error says what it found. No part of a file that
// may be a secret is in the result or in an error.
func Import(from string, o Options) (Result, error) {
	d := &draft{options: o, from: from}
	if value, ok := strings.CutPrefix(from, "--registry-mirror="); ok {
		d.from = "a --registry-mirror flag"
		d.mappings("--registry-mirror", 0, value)
		return d.result()
	}
	path, err := filepath.Abs(from)
	if err != nil {
		return Result{}, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(from, ":") && !strings.Contains(from, "://") {
		return Result{}, fmt.Errorf("no such file: %s; for the value of a flag write --registry-mirror=%s", from, from)
	}
	if err != nil {
		return Result{}, err
	}
	if info.IsDir() {
		err = d.tree(from, path)
	} else {
		err = d.file(from, path)
	}
	if err != nil {
		return Result{}, err
	}
	return d.result()
}

// file imports one file, shown as name.
func (d *draft) file(name, path string) error {
	data, err := input.ReadFile(path, 0)
	if err != nil {
		return err
	}
	text := bytes.TrimPrefix(data, []byte("\ufeff"))
	if filepath.Base(path) == "hosts.toml" {
		return d.namespace(filepath.Base(filepath.Dir(path)), name, filepath.Dir(path), data)
	}
	var document map[string]any
	tomlErr := toml.Unmarshal(text, &document)
	if tomlErr == nil && (document["plugins"] != nil || document["imports"] != nil || document["version"] != nil) {
		return d.containerd(name, text, document)
	}
	var root yaml.Node
	yamlErr := yaml.Unmarshal(text, &root)
	if yamlErr == nil && len(root.Content) > 0 && root.Content[0].Kind == yaml.MappingNode {
		keys := keysOf(root.Content[0])
		switch {
		case keys["providers"]:
			return d.providers(name, text)
		case keys["mirrors"], keys["configs"], keys["auths"]:
			return d.rancher(name, root.Content[0])
		}
	}
	const known = "mirrorcred imports a directory of hosts.toml files, registries.yaml, containerd's config.toml, and a kubelet's CredentialProviderConfig"
	if tomlErr != nil && yamlErr != nil {
		return fmt.Errorf("%s: it is neither TOML nor YAML; %s", name, known)
	}
	return fmt.Errorf("%s: %s", name, known)
}

func keysOf(mapping *yaml.Node) map[string]bool {
	keys := make(map[string]bool)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		keys[mapping.Content[i].Value] = true
	}
	return keys
}
