package containerdconfig

import (
	"maps"
	"slices"

	early "github.com/pelletier/go-toml"
)

// What pulls use of the registry part besides config_path: logins of containerd's
// own, and headers that go with every request.

// A HostSetting is a setting of one registry, and its place.
type HostSetting struct {
	Host string // as it is written
	At   Position
}

// besides reads all that from the registry part in effect. at returns the place of
// a key below the plugin that has it.
func besides[TLS any](c *Config, r *registry[TLS], at func(key ...string) Position) {
	for _, host := range slices.Sorted(maps.Keys(r.Configs)) {
		if r.Configs[host].Auth != nil {
			c.Logins = append(c.Logins, HostSetting{host, at("registry", "configs", host, "auth")})
		}
	}
	for _, host := range slices.Sorted(maps.Keys(r.Auths)) {
		c.Logins = append(c.Logins, HostSetting{host, at("registry", "auths", host)})
	}
	c.headers = r.Headers
}

// besidesTwo is besides for containerd 2.x.
func (l *load) besidesTwo(c *Config, images *imagesTwo, plugin *node) {
	at := func(key ...string) Position {
		for _, n := range slices.Backward(plugin.any(lower(key)...)) {
			return n.at
		}
		return Position{File: l.main}
	}
	besides(c, &images.Registry, at)
}

// lostHeaders returns the headers that a file sets for all registries and that are
// not in effect, in the order of the files.
func (l *load) lostHeaders(c Config) []HostSetting {
	var lost []HostSetting
	for _, f := range l.read {
		for _, plugin := range []string{criPlugin, imagesPlugin, earlyPlugin} {
			for _, name := range f.headersOf(plugin) {
				if _, ok := c.headers[name]; !ok {
					key := []string{"plugins", plugin, "registry", "headers"}
					lost = append(lost, HostSetting{name, Position{f.path, f.lines(append(key, name)...), tableName(key)}})
				}
			}
		}
	}
	return lost
}

// headersOf returns the names of the headers that a plugin's table in the file sets.
func (f *file) headersOf(plugin string) []string {
	if tree, ok := f.trees[plugin]; ok {
		if headers, ok := tree.GetPath([]string{"registry", "headers"}).(*early.Tree); ok {
			return slices.Sorted(slices.Values(headers.Keys()))
		}
		return nil
	}
	if headers := f.plugins[plugin].get("registry", "headers"); headers != nil {
		return slices.Sorted(maps.Keys(headers.table))
	}
	return nil
}
