package config

import (
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// anyTable stands for the tables of the CRI, one of which is picked.
const anyTable = "CRI"

// settings are keys besides the registry that keep containerd or its CRI from
// starting if their value is not one that they take, with some that they do and
// some that they do not.
var settings = []struct {
	key    []string
	values []any
}{
	{[]string{"debug", "level"}, []any{"info", int64(3)}},
	{[]string{"debug", "uid"}, []any{int64(3), "0"}},
	{[]string{"grpc", "max_recv_message_size"}, []any{int64(16777216), "16M"}},
	{[]string{"metrics", "grpc_histogram"}, []any{true, "yes"}},
	{[]string{"oom_score"}, []any{int64(0), "0", 1.5}},
	{[]string{"root"}, []any{"/var/lib/containerd", int64(1)}},
	{[]string{"timeouts", "io.containerd.timeout.task.state"}, []any{"2s", "soon", ""}},
	{[]string{"proxy_plugins", "stargz", "type"}, []any{"snapshot", int64(1)}},
	{[]string{"stream_processors", "x", "accepts"}, []any{[]any{"a"}, "a"}},
	{[]string{"plugins"}, []any{int64(1), []any{}, "x"}},
	{[]string{"plugins", anyTable, "containerd"}, []any{map[string]any{}, int64(1), []any{}}},
	{[]string{"plugins", anyTable, "containerd", "default_runtime_name"}, []any{"runc", "kata", "", int64(1)}},
	{[]string{"plugins", anyTable, "containerd", "runtimes"}, []any{map[string]any{}, "runc"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc"}, []any{map[string]any{}, "v2"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "runtime_type"}, []any{"io.containerd.kata.v2", int64(2)}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "options"}, []any{map[string]any{"a": int64(1)}, "x"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "kata", "snapshotter"}, []any{"nydus", false}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "privileged_without_host_devices_all_devices_allowed"}, []any{false, true}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "runtime_engine"}, []any{"", "/bin/runc"}},
	{[]string{"plugins", anyTable, "containerd", "runtimes", "runc", "io_type"}, []any{"streaming", "pipe"}},
	{[]string{"plugins", anyTable, "containerd", "snapshotter"}, []any{"overlayfs", int64(1), map[string]any{}}},
	{[]string{"plugins", anyTable, "containerd", "disable_snapshot_annotations"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "snapshotter"}, []any{"overlayfs", int64(1)}},
	{[]string{"plugins", anyTable, "pinned_images"}, []any{map[string]any{}, "pause"}},
	{[]string{"plugins", anyTable, "pinned_images", "sandbox"}, []any{"registry.k8s.io/pause:3.10", int64(3)}},
	{[]string{"plugins", anyTable, "sandbox_image"}, []any{"registry.k8s.io/pause:3.10", int64(3), map[string]any{}}},
	{[]string{"plugins", anyTable, "max_concurrent_downloads"}, []any{int64(5), "5", map[string]any{}}},
	{[]string{"plugins", anyTable, "image_pull_progress_timeout"}, []any{"1m", "soon", "", int64(60)}},
	{[]string{"plugins", anyTable, "image_pull_with_sync_fs"}, []any{true, int64(1)}},
	{[]string{"plugins", anyTable, "stats_collect_period"}, []any{int64(10), "10s", "soon"}},
	{[]string{"plugins", anyTable, "drain_exec_sync_io_timeout"}, []any{"0s", "soon", int64(0)}},
	{[]string{"plugins", anyTable, "enable_selinux"}, []any{true, "yes"}},
	{[]string{"plugins", anyTable, "systemd_cgroup"}, []any{false, true}},
	{[]string{"plugins", anyTable, "image_decryption", "key_model"}, []any{"node", int64(1)}},
	{[]string{"plugins", anyTable, "cni", "bin_dir"}, []any{"/opt/cni/bin", int64(1)}},
	{[]string{"plugins", anyTable, "cni", "bin_dirs"}, []any{[]any{"/opt/cni/bin"}, []any{"/usr/libexec/cni"}, "/opt/cni/bin"}},
	{[]string{"plugins", anyTable, "use_local_image_pull"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "enable_cdi"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "cni", "max_conf_num"}, []any{int64(1), "1"}},
	{[]string{"plugins", anyTable, "cni"}, []any{map[string]any{}, "bridge"}},
	{[]string{"plugins", anyTable, "stream_idle_timeout"}, []any{"4h", "long", int64(4)}},
	{[]string{"plugins", anyTable, "stream_server_port"}, []any{"0", int64(0)}},
	{[]string{"plugins", anyTable, "disable_tcp_service"}, []any{true, "true"}},
	{[]string{"plugins", anyTable, "x509_key_pair_streaming", "tls_cert_file"}, []any{"", int64(1)}},
	{[]string{"plugins", anyTable, "registry", "mirrors"}, []any{map[string]any{}, []any{}, "x"}},
	{[]string{"plugins", anyTable, "registry", "mirrors", "docker.io", "endpoint"}, []any{[]any{}, "https://x", int64(3)}},
	{[]string{"plugins", anyTable, "registry", "configs", "x", "auth"}, []any{map[string]any{}, "u:p"}},
	{[]string{"plugins", anyTable, "registry", "configs", "x", "tls"}, []any{map[string]any{}, "x"}},
	{[]string{"plugins", anyTable, "registry", "auths", ":", "username"}, []any{"u"}},
	{[]string{"plugins", anyTable, "registry", "headers", "X"}, []any{[]any{"a"}, "a"}},
	{[]string{"plugins", anyTable, "registry", "unknown"}, []any{int64(1)}},
	{[]string{"plugins", anyTable, "unknown"}, []any{"x", map[string]any{}, map[string]any{"a": []any{}}}},
	{[]string{"plugins", anyTable, "when"}, []any{toml.LocalDate{Year: 1979, Month: 5, Day: 27}, toml.LocalTime{Hour: 7, Minute: 32}, "x", map[string]any{}}},
	{[]string{"unknown"}, []any{"x", map[string]any{"a": int64(1)}}},
}

// addSetting sets one of the settings, mostly to a value that it takes.
func (g *Generator) addSetting(f *File) {
	s := pick(g, settings...)
	value := s.values[0]
	if g.chance(2) {
		value = pick(g, s.values...)
	}
	key := slices.Clone(s.key)
	if len(key) > 1 && key[1] == anyTable {
		key[1] = pick(g, oldPlugin, oldPlugin, imagesPlugin, runtime, "cri")
	}
	set(f.Table, cloneValue(value), key...)
}
