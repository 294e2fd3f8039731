package main

import (
	"iter"
	"os"
	"slices"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	defaultdirs "github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/plugin"
)

// load takes the steps that containerd 2.3 and later takes: each file is
// migrated by itself while it is read.
func load(enable bool) (func() verdict, error) {
	config := &srvconfig.Config{
		Version:          version.ConfigVersion,
		Root:             defaultdirs.DefaultRootDir,
		State:            defaultdirs.DefaultStateDir,
		DisabledPlugins:  []string{},
		RequiredPlugins:  []string{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc": map[string]any{"address": defaultdirs.DefaultAddress},
		},
	}
	if _, err := os.Stat(configFile); !os.IsNotExist(err) {
		plugins := func() iter.Seq[plugin.Registration] { return slices.Values(registered) }
		if err := srvconfig.LoadConfigWithPlugins(ctx, configFile, plugins, config); err != nil {
			return nil, err
		}
	}
	if enable {
		config.DisabledPlugins = withoutCRI(config.DisabledPlugins)
	}
	loaded := enabled(config)
	return decode(config, loaded)
}
