package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

var ctx = context.Background()

// all has no plugin left out.
func all(*plugin.Registration) bool { return false }

// registered are all plugins in their order. To find the order takes
// milliseconds.
var registered []plugin.Registration

func keepDefaults() {
	registered = registry.Graph(all)
	for _, r := range registered {
		keep(r.Config)
	}
}

// decode has every plugin that is not disabled take its part of a configuration
// that is read and migrated, and returns what judges the CRI.
func decode(config *srvconfig.Config, loaded []plugin.Registration) (func() verdict, error) {
	for _, d := range config.Timeouts {
		if _, err := time.ParseDuration(d); err != nil {
			return nil, err // server.New
		}
	}
	forget()
	cri, decoded := map[string]plugin.Registration{}, map[string]any{}
	for _, r := range loaded {
		if r.Config == nil {
			continue
		}
		if _, err := config.Decode(ctx, r.URI(), r.Config); err != nil {
			return nil, err
		}
		cri[r.URI()], decoded[r.URI()] = r, r.Config
	}
	top := *config
	top.Plugins, top.Imports, top.Version = nil, nil, 0
	return func() verdict { return judgeCRI(cri) }, keepRest(top, config.Plugins, decoded)
}

// judgeCRI initializes the CRI's parts as far as they look at the configuration
// only.
func judgeCRI(loaded map[string]plugin.Registration) verdict {
	v := verdict{Starts: true, CRI: true}
	for _, id := range criPlugins {
		r, ok := loaded[id]
		if !ok {
			return verdict{Starts: true, Disabled: true, Why: id + " is disabled"}
		}
		if id == "io.containerd.grpc.v1.cri" {
			continue // needs the two before it, and has no say in the registry
		}
		if err := initialize(r); err != nil {
			return verdict{Starts: true, Why: fmt.Sprintf("%s: %v", id, err)}
		}
		if id == "io.containerd.cri.v1.images" {
			v.ConfigPath = configPath(r.Config)
		}
	}
	return v
}

// initialize runs a plugin's own initialization. It ends if the plugin asks
// for others that are not there, or is through; both are after it has judged
// its configuration.
func initialize(r plugin.Registration) error {
	set := plugin.NewPluginSet()
	needs := []plugin.Registration{
		{Type: plugins.MetadataPlugin, ID: "bolt", InitFn: func(*plugin.InitContext) (any, error) { return metadata.NewDB(nil, nil, nil), nil }},
	}
	for _, p := range registered {
		if p.Type == plugins.WarningPlugin {
			needs = append(needs, p)
		}
	}
	for _, p := range needs {
		if err := set.Add(p.Init(plugin.NewContext(ctx, set, nil))); err != nil {
			return err
		}
	}
	ic := plugin.NewContext(ctx, set, map[string]string{
		plugins.PropertyRootDir:  filepath.Join(state, "root", r.URI()),
		plugins.PropertyStateDir: filepath.Join(state, "state", r.URI()),
	})
	ic.Config = r.Config
	_, err := r.Init(ic).Instance()
	if errors.Is(err, plugin.ErrPluginNotFound) {
		return nil
	}
	return err
}

// enabled returns the plugins that a configuration leaves on, as
// server.LoadPlugins does but for those that a configuration adds: they would
// stay for the next tree.
func enabled(config *srvconfig.Config) []plugin.Registration {
	if len(config.DisabledPlugins) == 0 {
		return registered
	}
	return registry.Graph(plugin.DisableFilter(srvconfig.V2DisabledFilter(config.DisabledPlugins)))
}
