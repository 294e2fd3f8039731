package containerdconfig

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"
)

// A registry is the registry part of the CRI's configuration. Keys that do not
// matter here are decoded because a wrong type keeps containerd from starting.
// TLS is a table in 1.x; 2.x ignores the key, whatever it holds.
type registry[TLS any] struct {
	ConfigPath string `toml:"config_path"`
	Mirrors    map[string]struct {
		Endpoints []string `toml:"endpoint"`
	} `toml:"mirrors"`
	Configs map[string]struct {
		Auth *auth `toml:"auth"`
		TLS  TLS   `toml:"tls"`
	} `toml:"configs"`
	Auths   map[string]auth     `toml:"auths"`
	Headers map[string][]string `toml:"headers"`
}

type auth struct {
	Username      string `toml:"username"`
	Password      string `toml:"password"`
	Auth          string `toml:"auth"`
	IdentityToken string `toml:"identitytoken"`
}

// refusal returns which of the keys below registry keeps the CRI from loading,
// and why, or "".
func (r *registry[TLS]) refusal() (key, why string) {
	if r.ConfigPath != "" && len(r.Mirrors) > 0 {
		return "mirrors", "has registry mirrors, which the CRI refuses beside config_path"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Auths)) {
		if _, err := url.Parse(name); err != nil {
			return "auths", fmt.Sprintf("has registry auths for %q, which is not a URL", name)
		}
	}
	return "", ""
}

// runtimes is what decides whether the CRI has its default runtime.
type runtimes[Runtime any] struct {
	DefaultRuntimeName string             `toml:"default_runtime_name"`
	Runtimes           map[string]Runtime `toml:"runtimes"`
}

// refusal says why the CRI does not load with these runtimes, or "".
func (r *runtimes[Runtime]) refusal() string {
	if r.DefaultRuntimeName == "" {
		return "has an empty default_runtime_name"
	}
	if _, ok := r.Runtimes[r.DefaultRuntimeName]; !ok {
		return fmt.Sprintf("has no runtime %q, which is the default one", r.DefaultRuntimeName)
	}
	return ""
}

func isDuration(s string) bool {
	_, err := time.ParseDuration(s)
	return s == "" || err == nil
}
