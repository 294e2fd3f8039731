package main

import (
	"os"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	defaultdirs "github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/version"
)

// load takes the steps that containerd 2.0 to 2.2 takes: all files into one
// configuration, which is then migrated once.
func load(enable bool) (func() verdict, error) {
	config := &srvconfig.Config{
		Version:          version.ConfigVersion,
		Root:             defaultdirs.DefaultRootDir,
		State:            defaultdirs.DefaultStateDir,
		GRPC:             srvconfig.GRPCConfig{Address: defaultdirs.DefaultAddress},
		DisabledPlugins:  []string{},
		RequiredPlugins:  []string{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
	}
	if _, err := os.Stat(configFile); !os.IsNotExist(err) {
		if err := srvconfig.LoadConfig(ctx, configFile, config); err != nil {
			return nil, err
		}
	}
	first := config.Version
	if err := config.MigrateConfig(ctx); err != nil {
		return nil, err
	}
	if enable {
		config.DisabledPlugins = withoutCRI(config.DisabledPlugins)
	}
	loaded := enabled(config)
	for v := first; v < version.ConfigVersion; v++ {
		for _, r := range loaded {
			if r.ConfigMigration == nil {
				continue
			}
			if err := r.ConfigMigration(ctx, v, config.Plugins); err != nil {
				return nil, err
			}
		}
	}
	return decode(config, loaded)
}
