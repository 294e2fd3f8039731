package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
)

// The plugins of the CRI of containerd 2.x, as far as they decide whether it
// loads, and every key that keeps containerd from starting if its type is wrong
// (internal/cri/config/config.go, v2.4.2).

type imagesTwo struct {
	Snapshotter            string            `toml:"snapshotter"`
	DisableAnnotations     bool              `toml:"disable_snapshot_annotations"`
	DiscardUnpackedLayers  bool              `toml:"discard_unpacked_layers"`
	PinnedImages           map[string]string `toml:"pinned_images"`
	Registry               registry[any]     `toml:"registry"`
	MaxConcurrentDownloads int               `toml:"max_concurrent_downloads"`
	PullProgressTimeout    string            `toml:"image_pull_progress_timeout"`
	PullWithSyncFs         bool              `toml:"image_pull_with_sync_fs"`
	StatsCollectPeriod     int               `toml:"stats_collect_period"`
	RuntimePlatforms       map[string]struct {
		Platform    string `toml:"platform"`
		Snapshotter string `toml:"snapshotter"`
	} `toml:"runtime_platforms"`
	ImageDecryption struct {
		KeyModel string `toml:"key_model"`
	} `toml:"image_decryption"`
}

// imagesFrom21 has the keys that came with 2.1.
type imagesFrom21 struct {
	UseLocalImagePull          bool `toml:"use_local_image_pull"`
	ConcurrentLayerFetchBuffer int  `toml:"concurrent_layer_fetch_buffer"`
}

type runtimeTwo struct {
	Containerd runtimes[runtimeEntryTwo] `toml:"containerd"`
	CNI        struct {
		ConfDir       string `toml:"conf_dir"`
		MaxConfNum    int    `toml:"max_conf_num"`
		SetupSerially bool   `toml:"setup_serially"`
		ConfTemplate  string `toml:"conf_template"`
		IPPref        string `toml:"ip_pref"`
		Loopback      bool   `toml:"use_internal_loopback"`
	} `toml:"cni"`
	EnableSelinux                    bool     `toml:"enable_selinux"`
	SelinuxCategoryRange             int      `toml:"selinux_category_range"`
	MaxContainerLogLineSize          int      `toml:"max_container_log_line_size"`
	DisableApparmor                  bool     `toml:"disable_apparmor"`
	RestrictOOMScoreAdj              bool     `toml:"restrict_oom_score_adj"`
	DisableProcMount                 bool     `toml:"disable_proc_mount"`
	UnsetSeccompProfile              string   `toml:"unset_seccomp_profile"`
	TolerateMissingHugetlbController bool     `toml:"tolerate_missing_hugetlb_controller"`
	DisableHugetlbController         bool     `toml:"disable_hugetlb_controller"`
	DeviceOwnership                  bool     `toml:"device_ownership_from_security_context"`
	IgnoreImageDefinedVolumes        bool     `toml:"ignore_image_defined_volumes"`
	NetNSMountsUnderStateDir         bool     `toml:"netns_mounts_under_state_dir"`
	EnableUnprivilegedPorts          bool     `toml:"enable_unprivileged_ports"`
	EnableUnprivilegedICMP           bool     `toml:"enable_unprivileged_icmp"`
	CDISpecDirs                      []string `toml:"cdi_spec_dirs"`
	DrainExecSyncIOTimeout           string   `toml:"drain_exec_sync_io_timeout"`
	IgnoreDeprecationWarnings        []string `toml:"ignore_deprecation_warnings"`
}

type runtimeEntryTwo struct {
	Type                 string         `toml:"runtime_type"`
	Path                 string         `toml:"runtime_path"`
	PodAnnotations       []string       `toml:"pod_annotations"`
	ContainerAnnotations []string       `toml:"container_annotations"`
	Options              map[string]any `toml:"options"`
	Privileged           bool           `toml:"privileged_without_host_devices"`
	AllDevices           bool           `toml:"privileged_without_host_devices_all_devices_allowed"`
	BaseRuntimeSpec      string         `toml:"base_runtime_spec"`
	CNIConfDir           string         `toml:"cni_conf_dir"`
	CNIMaxConfNum        int            `toml:"cni_max_conf_num"`
	Snapshotter          string         `toml:"snapshotter"`
	Sandboxer            string         `toml:"sandboxer"`
	IOType               string         `toml:"io_type"`
}

// runtimeUpTo23 has the keys that went with 2.4, runtimeFrom21 and runtimeFrom23
// those that came.
type runtimeUpTo23 struct {
	CNI struct {
		BinDir string `toml:"bin_dir"`
	} `toml:"cni"`
	EnableCDI bool `toml:"enable_cdi"`
}

type runtimeFrom21 struct {
	CNI struct {
		BinDirs []string `toml:"bin_dirs"`
	} `toml:"cni"`
}

type runtimeFrom23 struct {
	StatsCollectPeriod   string `toml:"stats_collect_period"`
	StatsRetentionPeriod string `toml:"stats_retention_period"`
}

// A runtimePluginTwo is the runtime plugin's configuration.
type runtimePluginTwo struct {
	runtimeTwo
	upTo23 runtimeUpTo23
	from21 runtimeFrom21
	from23 runtimeFrom23
}

// newRuntimePlugin returns the defaults.
func newRuntimePlugin() *runtimePluginTwo {
	r := &runtimePluginTwo{}
	r.Containerd = runtimes[runtimeEntryTwo]{"runc", map[string]runtimeEntryTwo{"runc": {}}}
	r.from21.CNI.BinDirs = slices.Clone(defaultBinDirs)
	return r
}

var defaultBinDirs = []string{"/opt/cni/bin"}

// parts returns what a line decodes the table into.
func (r *runtimePluginTwo) parts(l line) []any {
	parts := []any{&r.runtimeTwo}
	if l.Before(2, 4, 0) {
		parts = append(parts, &r.upTo23)
	}
	if !l.Before(2, 1, 0) {
		parts = append(parts, &r.from21)
	}
	if !l.Before(2, 3, 0) {
		parts = append(parts, &r.from23)
	}
	return parts
}

// refusal returns which key keeps the plugin from loading, why, and what to write,
// or "" (ValidateRuntimeConfig).
func (r *runtimePluginTwo) refusal() (key []string, why, repair string) {
	if why := r.Containerd.refusal(); why != "" {
		return []string{"containerd"}, why, "add the runtime, or name another one in default_runtime_name"
	}
	if r.upTo23.CNI.BinDir != "" && len(r.from21.CNI.BinDirs) > 0 && !slices.Equal(r.from21.CNI.BinDirs, defaultBinDirs) {
		return []string{"cni", "bin_dir"}, "has bin_dir beside bin_dirs", "remove bin_dir"
	}
	for _, name := range slices.Sorted(maps.Keys(r.Containerd.Runtimes)) {
		of := r.Containerd.Runtimes[name]
		if of.AllDevices && !of.Privileged {
			return []string{"containerd", "runtimes", name}, "has privileged_without_host_devices_all_devices_allowed without privileged_without_host_devices",
				"remove privileged_without_host_devices_all_devices_allowed"
		}
		if of.IOType != "" && of.IOType != "fifo" && of.IOType != "streaming" {
			return []string{"containerd", "runtimes", name}, fmt.Sprintf("has io_type = %q", of.IOType), "write \"fifo\" or \"streaming\""
		}
	}
	for _, d := range []struct{ key, value string }{
		{"drain_exec_sync_io_timeout", r.DrainExecSyncIOTimeout},
		{"stats_collect_period", r.from23.StatsCollectPeriod},
		{"stats_retention_period", r.from23.StatsRetentionPeriod},
	} {
		if !isDuration(d.value) {
			return []string{d.key}, fmt.Sprintf("has %s = %q, which is not a duration", d.key, d.value), "write one like \"5m0s\""
		}
	}
	return nil, "", ""
}

// serverTwo is what stays in the old CRI plugin.
type serverTwo struct {
	DisableTCPService    bool   `toml:"disable_tcp_service"`
	StreamServerAddress  string `toml:"stream_server_address"`
	StreamServerPort     string `toml:"stream_server_port"`
	StreamIdleTimeout    string `toml:"stream_idle_timeout"`
	EnableTLSStreaming   bool   `toml:"enable_tls_streaming"`
	X509KeyPairStreaming struct {
		CertFile string `toml:"tls_cert_file"`
		KeyFile  string `toml:"tls_key_file"`
	} `toml:"x509_key_pair_streaming"`
}
