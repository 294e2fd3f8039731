package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// A flag names the registries.yaml of k3s and RKE2: on the command line or,
// without its dashes, as a key of their configuration. That is a file that
// another flag names, and the files in the directory beside it, of which the
// last counts. The command line comes before both (k3s-io/k3s,
// pkg/configfilearg). It is read from their units, because a running k3s hides
// its arguments.
const (
	privateRegistry = "private-registry"
	configFile      = "config"
)

// registriesOf returns the registries.yaml files that k3s or RKE2 reads on a
// node: one for its server and one for its agent, usually the same.
func (n *Node) registriesOf(r rancher) ([]string, error) {
	var files []string
	var errs []error
	isThere := false
	add := func(args []string) {
		file, err := n.registriesBy(r, args)
		if !slices.Contains(files, file) {
			files = append(files, file)
			errs = append(errs, err)
		}
	}
	for _, service := range r.services {
		c, err := unitfile.ReadCommand(rancherInput{n}, service)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		isThere = true
		if err != nil {
			errs = append(errs, err)
		}
		add(c.Argv)
	}
	if !isThere {
		add(nil)
	}
	return files, errors.Join(errs...)
}

// registriesBy returns the registries.yaml for a command line.
func (n *Node) registriesBy(r rancher, args []string) (string, error) {
	if file := lastFlag(args, privateRegistry); file != "" {
		return path.Join("/", file), nil
	}
	config := lastFlag(args, configFile, "c")
	if config == "" {
		config = r.etc + "/config.yaml"
	}
	config = path.Join("/", config)
	input := rancherInput{n}
	more, err := input.Glob(config + ".d/*")
	if err != nil {
		return r.etc + "/registries.yaml", err
	}
	file := r.etc + "/registries.yaml"
	for _, name := range append([]string{config}, more...) {
		if ext := path.Ext(name); name != config && ext != ".yaml" && ext != ".yml" {
			continue
		}
		data, err := input.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var named string
		if err == nil {
			named, err = scalarOf(data, privateRegistry)
		}
		if err != nil {
			return file, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if named != "" {
			file = path.Join("/", named)
		}
	}
	return file, nil
}

// lastFlag returns the last value of a flag, "" if it is not given.
func lastFlag(args []string, names ...string) string {
	value := ""
	for i, arg := range args {
		name, text, hasText := strings.Cut(arg, "=")
		trimmed := strings.TrimPrefix(strings.TrimPrefix(name, "-"), "-")
		switch {
		case trimmed == name || !slices.Contains(names, trimmed):
		case hasText:
			value = text
		case i+1 < len(args):
			value = args[i+1]
		}
	}
	return value
}

// scalarOf returns the text of a key in a YAML file.
func scalarOf(data []byte, name string) (string, error) {
	var top yaml.Node
	if err := yaml.Unmarshal(data, &top); err != nil {
		return "", fmt.Errorf("not YAML: %w", err)
	}
	if len(top.Content) == 0 {
		return "", nil
	}
	found := ""
	for key, value := range pairs(top.Content[0]) {
		if value = resolve(value); key.Value == name && value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
			found = value.Value
		}
	}
	return found, nil
}

// A rancherInput reads the files that k3s and RKE2 read, and adds them to the
// watched ones.
type rancherInput struct{ n *Node }

// ReadFile implements [unitfile.Files].
func (r rancherInput) ReadFile(name string) ([]byte, error) {
	at := r.n.path(name)
	r.n.inputs.rancher = append(r.n.inputs.rancher, at)
	return r.n.tree.ReadFile(at, 0)
}

// Glob implements [unitfile.Files].
func (r rancherInput) Glob(pattern string) ([]string, error) {
	r.n.inputs.rancher = append(r.n.inputs.rancher, r.n.path(pattern))
	names, err := r.n.tree.Glob(r.n.path(pattern))
	for i, name := range names {
		names[i] = r.n.onNode(name)
	}
	return names, err
}
