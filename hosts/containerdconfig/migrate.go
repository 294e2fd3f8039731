package containerdconfig

import (
	"fmt"
	"slices"
)

// migrate moves the old CRI plugin's settings to those that containerd 2.x reads
// (plugins/cri/{runtime,images}/plugin.go and plugins/cri/cri.go, v2.4.2). A
// value of another type than it expects ends containerd.
func (l *load) migrate(plugins map[string]*node) error {
	old := plugins[criPlugin]
	if old == nil {
		return nil
	}
	for _, name := range []string{criPlugin, imagesPlugin} {
		if n := plugins[name]; n != nil && n.table == nil {
			return l.noTable(n, "plugins."+name)
		}
	}
	if err := l.migrateRuntimes(plugins, old); err != nil {
		return err
	}
	if err := l.migrateImages(plugins, old); err != nil {
		return err
	}
	server := &node{at: old.at, table: map[string]*node{}}
	for _, key := range serverKeys {
		if n := old.table[key]; n != nil {
			server.table[key] = n
		}
	}
	plugins[criPlugin] = server
	return nil
}

// serverKeys stay in the old plugin.
var serverKeys = []string{
	"disable_tcp_service", "stream_server_address", "stream_server_port",
	"stream_idle_timeout", "enable_tls_streaming", "x509_key_pair_streaming",
}

// imageKeys move to the image plugin and replace what it has.
var imageKeys = []string{
	"registry", "image_decryption", "max_concurrent_downloads",
	"image_pull_progress_timeout", "image_pull_with_sync_fs", "stats_collect_period",
}

// imageRuntimeKeys move there from the table containerd, if that has runtimes.
var imageRuntimeKeys = []string{"snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"}

func (l *load) migrateImages(plugins map[string]*node, old *node) error {
	images := child(plugins, imagesPlugin, old.at)
	if pinned := images["pinned_images"]; pinned != nil && pinned.table == nil {
		return l.noTable(pinned, "pinned_images")
	}
	if sandbox := old.table["sandbox_image"]; sandbox != nil {
		child(images, "pinned_images", old.at)["sandbox"] = sandbox
	}
	for _, key := range imageKeys {
		if n := old.table[key]; n != nil {
			images[key] = n
		}
	}
	if r := images["registry"]; r != nil && l.line.startsWithList() {
		if r.table == nil {
			return l.noTable(r, "registry")
		}
		if set := r.table["config_path"]; set != nil && set.value == "" {
			r.table["config_path"] = &node{value: defaultList}
		}
	}
	if containerd := old.get("containerd"); containerd.get("runtimes") != nil {
		for _, key := range imageRuntimeKeys {
			if n := containerd.table[key]; n != nil {
				images[key] = n
			}
		}
	}
	return nil
}

func (l *load) migrateRuntimes(plugins map[string]*node, old *node) error {
	runtime := plugins[runtimePlugin]
	if runtime == nil || runtime.table == nil {
		runtime = &node{at: old.at, table: map[string]*node{}}
		plugins[runtimePlugin] = runtime
	}
	for key, n := range old.table {
		moved := slices.Contains(serverKeys, key) || slices.Contains(imageKeys, key) || key == "sandbox_image"
		if runtime.table[key] == nil && !moved && key != "cni" && key != "containerd" {
			runtime.table[key] = n
		}
	}
	if err := l.migrateCNI(runtime.table, old); err != nil {
		return err
	}
	from := old.table["containerd"]
	if from == nil {
		return nil
	}
	if from.table == nil {
		return l.noTable(from, "containerd")
	}
	into := child(runtime.table, "containerd", from.at)
	for key, n := range from.table {
		if into[key] == nil && !slices.Contains(imageRuntimeKeys, key) {
			into[key] = n
		}
	}
	for _, all := range []*node{from.table["runtimes"], into["runtimes"]} {
		if all == nil {
			continue
		}
		if all.table == nil {
			return l.noTable(all, "runtimes")
		}
		for name, n := range all.table {
			if n.table == nil {
				return l.noTable(n, name)
			}
		}
	}
	return nil
}

// migrateCNI moves the table cni. From 2.1 its bin_dir becomes a list.
func (l *load) migrateCNI(runtime map[string]*node, old *node) error {
	from := old.table["cni"]
	if from == nil {
		return nil
	}
	if l.line.Before(2, 1, 0) {
		if runtime["cni"] == nil {
			runtime["cni"] = from
		}
		return nil
	}
	if from.table == nil {
		return nil // what is not a table is forgotten
	}
	into := child(runtime, "cni", from.at)
	for key, n := range from.table {
		switch text, isText := n.value.(string); {
		case key == "bin_dir" && !isText:
			return l.noStart(n.at, "make it a string", "has bin_dir, which is not a string")
		case key == "bin_dir":
			into["bin_dirs"] = &node{at: n.at, value: []any{text}}
		case into[key] == nil:
			into[key] = n
		}
	}
	return nil
}

func (l *load) noTable(n *node, name string) *StartError {
	return l.noStart(n.at, "make it a table", fmt.Sprintf("has %s, which is not a table", name))
}

// child returns the table of a name, which is made if it is not a table.
func child(of map[string]*node, name string, at Position) map[string]*node {
	if n := of[name]; n == nil || n.table == nil {
		of[name] = &node{at: at, table: map[string]*node{}}
	}
	return of[name].table
}
