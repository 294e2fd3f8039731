package importer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The tables with the registries in a configuration of containerd, oldest
// first.
var registryPlugins = []string{"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"}

// containerd imports the mirrors in containerd's own configuration.
func (d *draft) containerd(file string, data []byte, document map[string]any) error {
	plugins, _ := document["plugins"].(map[string]any)
	found, path := false, ""
	for _, name := range registryPlugins {
		plugin, _ := plugins[name].(map[string]any)
		registry, _ := plugin["registry"].(map[string]any)
		if dir, ok := registry["config_path"].(string); ok && dir != "" {
			path = dir
		}
		if d.criRegistry(file, data, registry) {
			found = true
		}
	}
	switch {
	case found:
		return nil
	case path != "":
		return fmt.Errorf("%s: it has no mirrors, and reads those in %s; import that directory", file, path)
	case document["imports"] != nil:
		return fmt.Errorf("%s: it has no mirrors; import the file of its imports that has them", file)
	}
	return fmt.Errorf("%s: it has no mirrors, under [plugins.…registry.mirrors]", file)
}

// criRegistry imports one registry table and reports whether it has any
// settings.
func (d *draft) criRegistry(file string, data []byte, registry map[string]any) bool {
	mirrors, _ := registry["mirrors"].(map[string]any)
	configs, _ := registry["configs"].(map[string]any)
	auths, _ := registry["auths"].(map[string]any)
	for _, source := range slices.Sorted(maps.Keys(mirrors)) {
		table, _ := mirrors[source].(map[string]any)
		d.endpoints(place{file, lineWith(data, quote(source))}, source, texts(table["endpoint"]), "", false)
	}
	for _, host := range slices.Sorted(maps.Keys(configs)) {
		table, _ := configs[host].(map[string]any)
		at := place{file, lineWith(data, "configs."+quote(host))}
		if tls, ok := table["tls"].(map[string]any); ok {
			var s settings
			s.skipVerify, _ = tls["insecure_skip_verify"].(bool)
			if ca, _ := tls["ca_file"].(string); ca != "" {
				s.ca = []string{ca}
			}
			cert, _ := tls["cert_file"].(string)
			key, _ := tls["key_file"].(string)
			if cert != "" || key != "" {
				s.client = [][2]string{{cert, key}}
			}
			if !s.none() {
				d.setting(at, host, s)
			}
		}
		if auth, ok := table["auth"].(map[string]any); ok && len(auth) > 0 {
			at.line = cmp.Or(lineWith(data, "configs."+quote(host)+".auth"), at.line)
			d.login(at, host, auth)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(auths)) {
		if auth, ok := auths[address].(map[string]any); ok && len(auth) > 0 {
			d.login(place{file, lineWith(data, address)}, hostIn(address), auth)
		}
	}
	if headers, ok := registry["headers"].(map[string]any); ok && len(headers) > 0 {
		d.lose(place{file, lineWith(data, "headers")}, "headers for every registry are left out; containerd goes on sending them beside config_path, and the map has them for each registry")
	}
	return len(mirrors)+len(configs)+len(auths) > 0
}

// texts returns the strings of a TOML list.
func texts(v any) []string {
	many, _ := v.([]any)
	var list []string
	for _, one := range many {
		if s, ok := one.(string); ok {
			list = append(list, strings.TrimSpace(s))
		}
	}
	return list
}
