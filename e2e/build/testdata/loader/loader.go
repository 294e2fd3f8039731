// Command loader says what one line of containerd makes of configurations.
//
// It is built against that line's module and links the plugins that its
// containerd links. The line's own code reads, merges, migrates and decodes a
// configuration, and its CRI plugins judge it; nothing is started. What a
// start does in which order is in the file for the line: v1.go, v2.go for 2.0
// to 2.2, v23.go for 2.3 and later.
//
// Each line of standard input is the directory of a tree, which is the root
// directory while its configuration is read. Each line of standard output is
// the verdict on it, in JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"syscall"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// configFile is where containerd looks for its configuration when no flag says
// otherwise.
const configFile = "/etc/containerd/config.toml"

// A verdict is what a containerd of this line would do with a configuration.
type verdict struct {
	Starts     bool     `json:"starts"`
	CRI        bool     `json:"cri"`         // it can pull images for the kubelet
	ConfigPath string   `json:"config_path"` // as the pull has it
	Why        string   `json:"why"`         // why it does not start, or the CRI does not load
	Disabled   bool     `json:"disabled"`    // the CRI does not load because a file disables it
	Enabled    *verdict `json:"enabled"`     // then what it would do if none did
	Rest       string   `json:"rest"`        // everything in effect but config_path, imports and the version
}

// criPlugins are the plugins without which nothing is pulled for the kubelet.
var criPlugins = []string{
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.grpc.v1.cri",
}

// withoutCRI returns a list of disabled plugins without those of the CRI.
func withoutCRI(disabled []string) []string {
	return slices.DeleteFunc(slices.Clone(disabled), func(id string) bool {
		return id == "cri" || slices.Contains(criPlugins, id)
	})
}

func main() {
	logrus.SetOutput(io.Discard)
	log.L.Logger.SetOutput(io.Discard)
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "loader: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := os.Open("/")
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "loader-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	keepDefaults()
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		v, err := judge(root, in.Text(), scratch)
		if err != nil {
			return err
		}
		if err := out.Encode(v); err != nil {
			return err
		}
	}
	return in.Err()
}

// judge reads the configuration of one tree.
func judge(root *os.File, tree, scratch string) (verdict, error) {
	state = scratch
	v, err := read(root, tree, false)
	if err != nil || !v.Disabled {
		return v, err
	}
	enabled, err := read(root, tree, true)
	v.Enabled = &enabled
	return v, err
}

// read reads a tree, with the CRI enabled whatever the files say if enable is
// true. The plugins are initialized outside of the tree, so that they change
// nothing in it.
func read(root *os.File, tree string, enable bool) (verdict, error) {
	if err := syscall.Chroot(tree); err != nil {
		return verdict{}, fmt.Errorf("chroot %s: %w", tree, err)
	}
	judgeCRI, why := guarded(func() (func() verdict, error) { return load(enable) })
	if err := root.Chdir(); err != nil {
		return verdict{}, err
	}
	if err := syscall.Chroot("."); err != nil {
		return verdict{}, err
	}
	if why != nil {
		return verdict{Why: why.Error()}, nil
	}
	v := judgeCRI()
	v.Rest = rest
	return v, nil
}

// rest is [verdict.Rest] for the configuration that was read last.
var rest string

// keepRest notes it: the settings outside of plugins, the plugins' tables once all
// files are merged and migrated, and the decoded configurations of the plugins that
// are linked.
func keepRest(top any, tables map[string]any, decoded map[string]any) error {
	for uri, config := range decoded {
		v := deepCopy(reflect.Indirect(reflect.ValueOf(config)))
		if v.Kind() != reflect.Struct {
			continue
		}
		if registry := v.FieldByName("Registry"); registry.IsValid() {
			registry.FieldByName("ConfigPath").SetString("")
		}
		decoded[uri] = v.Interface()
	}
	data, err := json.Marshal([]any{top, withoutPath(tables, nil), decoded})
	rest = string(data)
	return err
}

// withoutPath returns a table without config_path of the registries and without
// empty tables, which is nil if nothing else is in it.
func withoutPath(table map[string]any, above []string) map[string]any {
	var out map[string]any
	for name, value := range table {
		key := append(slices.Clone(above), name)
		if sub, isTable := value.(map[string]any); isTable {
			if sub = withoutPath(sub, key); sub == nil {
				continue
			}
			value = sub
		}
		if len(key) == 3 && key[1] == "registry" && name == "config_path" {
			continue
		}
		if out == nil {
			out = map[string]any{}
		}
		out[name] = value
	}
	return out
}

// state is a directory for what plugins write when they are initialized.
var state string

// guarded has a panic be an error: containerd would not start either.
func guarded(f func() (func() verdict, error)) (judgeCRI func() verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// defaults are the configurations of all plugins before anything is decoded
// into them, by the address of each.
var defaults = map[any]reflect.Value{}

// keep remembers the default configuration of a plugin, a pointer or nil.
func keep(config any) {
	if v := reflect.ValueOf(config); v.Kind() == reflect.Pointer && !v.IsNil() {
		defaults[config] = deepCopy(v.Elem())
	}
}

// forget sets all plugins back to their defaults.
func forget() {
	for config, value := range defaults {
		reflect.ValueOf(config).Elem().Set(deepCopy(value))
	}
}

func deepCopy(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			out.Set(deepCopy(v.Elem()))
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMap(v.Type()))
			for _, key := range v.MapKeys() {
				out.SetMapIndex(key, deepCopy(v.MapIndex(key)))
			}
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(deepCopy(v.Index(i)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if out.Field(i).CanSet() {
				out.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	}
	return out
}

// configPath returns registry.config_path of a CRI plugin's configuration, the
// type of which is internal to containerd.
func configPath(config any) string {
	return reflect.Indirect(reflect.ValueOf(config)).FieldByName("Registry").FieldByName("ConfigPath").String()
}
