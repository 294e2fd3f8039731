package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	early "github.com/pelletier/go-toml"
)

// A criOne is the configuration of the CRI plugin of containerd 1.x, as far as
// it decides whether the plugin loads and which directory it reads
// (pkg/cri/config/config.go, v1.7.35).
type criOne struct {
	Registry   registry[*tlsOne] `toml:"registry"`
	Containerd containerdOne     `toml:"containerd"`

	CNI struct {
		BinDir        string `toml:"bin_dir"`
		ConfDir       string `toml:"conf_dir"`
		MaxConfNum    int    `toml:"max_conf_num"`
		SetupSerially bool   `toml:"setup_serially"`
		ConfTemplate  string `toml:"conf_template"`
		IPPref        string `toml:"ip_pref"`
	} `toml:"cni"`
	ImageDecryption struct {
		KeyModel string `toml:"key_model"`
	} `toml:"image_decryption"`
	X509KeyPairStreaming struct {
		CertFile string `toml:"tls_cert_file"`
		KeyFile  string `toml:"tls_key_file"`
	} `toml:"x509_key_pair_streaming"`

	DisableTCPService                bool     `toml:"disable_tcp_service"`
	StreamServerAddress              string   `toml:"stream_server_address"`
	StreamServerPort                 string   `toml:"stream_server_port"`
	StreamIdleTimeout                string   `toml:"stream_idle_timeout"`
	EnableSelinux                    bool     `toml:"enable_selinux"`
	SelinuxCategoryRange             int      `toml:"selinux_category_range"`
	SandboxImage                     string   `toml:"sandbox_image"`
	StatsCollectPeriod               int      `toml:"stats_collect_period"`
	SystemdCgroup                    bool     `toml:"systemd_cgroup"`
	EnableTLSStreaming               bool     `toml:"enable_tls_streaming"`
	MaxContainerLogLineSize          int      `toml:"max_container_log_line_size"`
	DisableCgroup                    bool     `toml:"disable_cgroup"`
	DisableApparmor                  bool     `toml:"disable_apparmor"`
	RestrictOOMScoreAdj              bool     `toml:"restrict_oom_score_adj"`
	MaxConcurrentDownloads           int      `toml:"max_concurrent_downloads"`
	DisableProcMount                 bool     `toml:"disable_proc_mount"`
	UnsetSeccompProfile              string   `toml:"unset_seccomp_profile"`
	TolerateMissingHugetlbController bool     `toml:"tolerate_missing_hugetlb_controller"`
	DisableHugetlbController         bool     `toml:"disable_hugetlb_controller"`
	DeviceOwnership                  bool     `toml:"device_ownership_from_security_context"`
	IgnoreImageDefinedVolumes        bool     `toml:"ignore_image_defined_volumes"`
	NetNSMountsUnderStateDir         bool     `toml:"netns_mounts_under_state_dir"`
	EnableUnprivilegedPorts          bool     `toml:"enable_unprivileged_ports"`
	EnableUnprivilegedICMP           bool     `toml:"enable_unprivileged_icmp"`
	EnableCDI                        bool     `toml:"enable_cdi"`
	CDISpecDirs                      []string `toml:"cdi_spec_dirs"`
	ImagePullProgressTimeout         string   `toml:"image_pull_progress_timeout"`
	DrainExecSyncIOTimeout           string   `toml:"drain_exec_sync_io_timeout"`
	ImagePullWithSyncFs              bool     `toml:"image_pull_with_sync_fs"`
	IgnoreDeprecationWarnings        []string `toml:"ignore_deprecation_warnings"`
}

type tlsOne struct {
	InsecureSkipVerify bool   `toml:"insecure_skip_verify"`
	CAFile             string `toml:"ca_file"`
	CertFile           string `toml:"cert_file"`
	KeyFile            string `toml:"key_file"`
}

// containerdOne is its containerd table. The two runtimes of their own are older
// forms of an entry of runtimes.
type containerdOne struct {
	Snapshotter        string                `toml:"snapshotter"`
	DefaultRuntimeName string                `toml:"default_runtime_name"`
	NoPivot            bool                  `toml:"no_pivot"`
	Runtimes           map[string]runtimeOne `toml:"runtimes"`
	Default            runtimeOne            `toml:"default_runtime"`
	Untrusted          runtimeOne            `toml:"untrusted_workload_runtime"`

	DisableSnapshotAnnotations bool `toml:"disable_snapshot_annotations"`
	DiscardUnpackedLayers      bool `toml:"discard_unpacked_layers"`
	IgnoreBlockIO              bool `toml:"ignore_blockio_not_enabled_errors"`
	IgnoreRDT                  bool `toml:"ignore_rdt_not_enabled_errors"`
}

type runtimeOne struct {
	Type                 string         `toml:"runtime_type"`
	Path                 string         `toml:"runtime_path"`
	Engine               string         `toml:"runtime_engine"`
	PodAnnotations       []string       `toml:"pod_annotations"`
	ContainerAnnotations []string       `toml:"container_annotations"`
	Root                 string         `toml:"runtime_root"`
	Options              map[string]any `toml:"options"`
	Snapshotter          string         `toml:"snapshotter"`
	Privileged           bool           `toml:"privileged_without_host_devices"`
	AllDevices           bool           `toml:"privileged_without_host_devices_all_devices_allowed"`
	BaseRuntimeSpec      string         `toml:"base_runtime_spec"`
	CNIConfDir           string         `toml:"cni_conf_dir"`
	CNIMaxConfNum        int            `toml:"cni_max_conf_num"`
	SandboxMode          string         `toml:"sandbox_mode"`
}

// linuxRuntime is the only runtime with which some older keys are allowed.
const linuxRuntime = "io.containerd.runtime.v1.linux"

var defaultRuntimeName = []string{"containerd", "default_runtime_name"}

// refusal returns which keys keep the CRI plugin from loading, and why, or ""
// (ValidatePluginConfig).
func (c *criOne) refusal() (key []string, why string) {
	all := []string{"containerd", "runtimes"}
	r := runtimes[runtimeOne]{c.Containerd.DefaultRuntimeName, maps.Clone(c.Containerd.Runtimes)}
	if r.Runtimes == nil {
		r.Runtimes = map[string]runtimeOne{}
	}
	if c.Containerd.Untrusted.Type != "" {
		if _, both := r.Runtimes["untrusted"]; both {
			return append(all, "untrusted"), "has the runtime \"untrusted\" beside untrusted_workload_runtime, which is the same"
		}
		r.Runtimes["untrusted"] = c.Containerd.Untrusted
	}
	if c.Containerd.Default.Type != "" {
		r.DefaultRuntimeName, r.Runtimes["default"] = "default", c.Containerd.Default
	}
	if why := r.refusal(); why != "" {
		if r.DefaultRuntimeName != "runc" { // which is there if no table says otherwise
			return defaultRuntimeName, why
		}
		return all, why
	}
	standard := r.Runtimes[r.DefaultRuntimeName].Type
	if (c.SystemdCgroup || c.Containerd.NoPivot) && standard != linuxRuntime {
		return nil, "has systemd_cgroup or no_pivot, which need the default runtime to be " + linuxRuntime
	}
	for _, name := range slices.Sorted(maps.Keys(r.Runtimes)) {
		of := r.Runtimes[name]
		if (of.Engine != "" || of.Root != "") && of.Type != linuxRuntime {
			return append(all, name), "has runtime_engine or runtime_root, which need " + linuxRuntime
		}
		if of.AllDevices && !of.Privileged {
			return append(all, name), "has privileged_without_host_devices_all_devices_allowed without privileged_without_host_devices"
		}
	}
	if key, why := c.Registry.refusal(); why != "" {
		return []string{"registry", key}, why
	}
	for _, host := range slices.Sorted(maps.Keys(c.Registry.Configs)) {
		if c.Registry.ConfigPath != "" && c.Registry.Configs[host].TLS != nil {
			return []string{"registry", "configs", host, "tls"}, "has TLS settings of a registry, which the CRI refuses beside config_path"
		}
	}
	for _, d := range []struct{ key, value string }{
		{"stream_idle_timeout", c.StreamIdleTimeout},
		{"image_pull_progress_timeout", c.ImagePullProgressTimeout},
		{"drain_exec_sync_io_timeout", c.DrainExecSyncIOTimeout},
	} {
		if !isDuration(d.value) {
			return []string{d.key}, fmt.Sprintf("has %s = %q, which is not a duration", d.key, d.value)
		}
	}
	return nil, ""
}

// decodeOne decodes the plugin's table. In containerd these parts are embedded in
// the configuration, and go-toml 1 reads an embedded part from the table around it
// if it has none of its own.
func decodeOne(tree *early.Tree, into *criOne) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if err := tree.Unmarshal(into); err != nil {
		return err
	}
	for _, part := range []struct {
		key  string
		into any
	}{
		{"containerd", &into.Containerd},
		{"cni", &into.CNI},
		{"image_decryption", &into.ImageDecryption},
		{"x509_key_pair_streaming", &into.X509KeyPairStreaming},
	} {
		if tree.HasPath([]string{part.key}) || tree.HasPath([]string{strings.ToUpper(part.key)}) {
			continue
		}
		if err := tree.Unmarshal(part.into); err != nil {
			return err
		}
	}
	return nil
}
