package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	defaultdirs "github.com/containerd/containerd/defaults"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/plugin"
	srvconfig "github.com/containerd/containerd/services/server/config"
)

// registered are all plugins in their order. To find the order takes
// milliseconds.
var registered []*plugin.Registration

func keepDefaults() {
	registered = plugin.Graph(func(*plugin.Registration) bool { return false })
	for _, r := range registered {
		keep(r.Config)
	}
}

// load takes the steps that containerd 1.7 takes: all files into one
// configuration, which is never migrated.
func load(enable bool) (func() verdict, error) {
	config := &srvconfig.Config{
		Version:          1,
		Root:             defaultdirs.DefaultRootDir,
		State:            defaultdirs.DefaultStateDir,
		GRPC:             srvconfig.GRPCConfig{Address: defaultdirs.DefaultAddress},
		DisabledPlugins:  []string{},
		RequiredPlugins:  []string{},
		StreamProcessors: map[string]srvconfig.StreamProcessor{},
	}
	if _, err := os.Stat(configFile); !os.IsNotExist(err) {
		if err := srvconfig.LoadConfig(configFile, config); err != nil {
			return nil, err
		}
	}
	for _, d := range config.Timeouts {
		if _, err := time.ParseDuration(d); err != nil {
			return nil, err // server.New
		}
	}
	if enable {
		config.DisabledPlugins = withoutCRI(config.DisabledPlugins)
	}
	filter := srvconfig.V2DisabledFilter
	if config.GetVersion() == 1 {
		filter = srvconfig.V1DisabledFilter
	}
	forget()
	var cri *plugin.Registration
	enabled := registered
	if len(config.DisabledPlugins) > 0 {
		for _, r := range registered {
			r.Disable = false // the graph before this one may have set it
		}
		enabled = plugin.Graph(filter(config.DisabledPlugins))
	}
	for _, r := range enabled {
		if r.Config == nil {
			continue
		}
		if _, err := config.Decode(r); err != nil {
			return nil, err
		}
		if r.URI() == "io.containerd.grpc.v1.cri" {
			cri = r
		}
	}
	top, tables, decoded := *config, map[string]any{}, map[string]any{}
	top.Plugins, top.Imports, top.Version = nil, nil, 0
	for name, tree := range config.Plugins {
		tables[name] = tree.ToMap()
	}
	if cri != nil {
		decoded["cri"] = cri.Config
	}
	return func() verdict { return judgeCRI(cri) }, keepRest(top, tables, decoded)
}

// judgeCRI has the CRI plugin initialize itself. It ends if the plugin asks
// for others that are not there, which is after it has judged its
// configuration.
func judgeCRI(r *plugin.Registration) verdict {
	if r == nil {
		return verdict{Starts: true, Disabled: true, Why: "the CRI plugin is disabled"}
	}
	set := plugin.NewPluginSet()
	for _, p := range registered {
		if p.Type == plugin.WarningPlugin {
			set.Add(p.Init(plugin.NewContext(context.Background(), p, set, state, state)))
		}
	}
	ic := plugin.NewContext(context.Background(), r, set, filepath.Join(state, "root"), filepath.Join(state, "state"))
	ic.Config = r.Config
	if _, err := r.Init(ic).Instance(); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		return verdict{Starts: true, Why: err.Error()}
	}
	return verdict{Starts: true, CRI: true, ConfigPath: configPath(r.Config)}
}
