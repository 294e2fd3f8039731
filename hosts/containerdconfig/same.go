package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Besides compares two configurations of the same containerd, and returns the first
// setting other than config_path that differs, such as
// plugins."io.containerd.cri.v1.images".registry.headers; "" if none does. It
// compares the settings in effect, not the files: those of the plugins, the lists of
// disabled and required plugins, and the timeouts.
func (c Config) Besides(d Config) string {
	one, other := c.settings(), d.settings()
	all := slices.Concat(slices.Collect(maps.Keys(one)), slices.Collect(maps.Keys(other)))
	slices.Sort(all)
	for _, key := range all {
		if a, b := one[key], other[key]; a != b {
			return key
		}
	}
	return ""
}

// settings returns the values of all settings but config_path, by their keys.
func (c Config) settings() map[string]string {
	all := map[string]string{}
	if c.plugins == nil {
		return all
	}
	for name, plugin := range c.plugins() {
		flatten(all, []string{"plugins", name}, plugin)
	}
	for key, list := range map[string][]entry{"disabled_plugins": c.lists.disabled, "required_plugins": c.lists.required, "timeouts": c.lists.timeouts} {
		for _, e := range list {
			all[key] += fmt.Sprintf("%q=%q,", e.name, e.value)
		}
	}
	return all
}

// flatten adds what is in a table of the plugins.
func flatten(into map[string]string, key []string, value any) {
	table, isTable := value.(map[string]any)
	if !isTable {
		if !isConfigPath(key) {
			into[tableName(key)] = fmt.Sprintf("%T %v", value, value)
		}
		return
	}
	for name, v := range table {
		flatten(into, append(slices.Clone(key), name), v)
	}
}

// isConfigPath reports whether a key is a config_path that pulls may use.
func isConfigPath(key []string) bool {
	return len(key) == 4 && slices.Contains([]string{criPlugin, earlyPlugin, imagesPlugin}, key[1]) &&
		strings.EqualFold(key[2], "registry") && strings.EqualFold(key[3], "config_path")
}
