package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// pushMirrorcred puts an image as "make dist" makes it into a registry without
// passwords, with further programs in /usr/bin.
func pushMirrorcred(t *testing.T, more ...string) {
	t.Helper()
	pushVersion(t, "1", filepath.Dir(program("mirrorcred")), more...)
}

// pushVersion is pushMirrorcred with a tag, for the programs in a directory.
func pushVersion(t *testing.T, tag, dir string, more ...string) {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	files := map[string]string{
		"usr/bin/mirrorcred": dir + "/mirrorcred",
		"usr/libexec/mirrorcred/mirror-credential-provider": dir + "/mirror-credential-provider",
	}
	for _, name := range more {
		files["usr/bin/"+name] = program(name)
	}
	for path, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		check(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(data))}))
		_, err = w.Write(data)
		check(t, err)
	}
	check(t, w.Close())
	packed, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	check(t, err)
	image, err := mutate.AppendLayers(empty.Image, packed)
	check(t, err)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: architecture, RootFS: must(image.ConfigFile()).RootFS,
		Config: v1.Config{Entrypoint: []string{"/usr/bin/mirrorcred"}},
	})
	check(t, err)
	_, err = world.acr[pauseRegistry].Push("mirrorcred", tag, image)
	check(t, err)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// bus is a system bus as distributions have it, with the rules of systemd's package.
func (n *bare) bus() {
	n.Helper()
	check(n.T, node.WritePackageUnit("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n"))
	check(n.T, node.WritePackageUnit("dbus.service", "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation\n"))
	n.do("daemon-reload")
	n.do("start", "dbus.socket", "dbus.service")
}

// runRing gives the kubelet the pod of a ring as a static one, and returns its name. What
// a static pod cannot have is replaced: the ConfigMap by a directory with its map, the
// network by the node's, as no network plugin is there.
func (n *bare) runRing(ring, values string) string {
	n.Helper()
	const mapDir = "/opt/map"
	var pod map[string]any
	for _, o := range chart(n.T, chartImage+values) {
		metadata := o["metadata"].(map[string]any)
		if labels, _ := metadata["labels"].(map[string]any); labels["mirrorcred.io/ring"] != ring {
			continue
		}
		if o["kind"] == "ConfigMap" {
			write(n.T, mapDir+"/mirrors.toml", o["data"].(map[string]any)["mirrors.toml"].(string))
		} else {
			pod = o["spec"].(map[string]any)["template"].(map[string]any)
		}
	}
	spec := pod["spec"].(map[string]any)
	for _, key := range []string{"serviceAccountName", "affinity", "nodeSelector"} {
		delete(spec, key)
	}
	spec["hostNetwork"] = true
	for _, v := range spec["volumes"].([]any) {
		if volume := v.(map[string]any); volume["configMap"] != nil {
			delete(volume, "configMap")
			volume["hostPath"] = map[string]any{"path": mapDir}
		}
	}
	metadata := map[string]any{"name": ring, "namespace": "default"}
	if annotations, ok := pod["metadata"].(map[string]any)["annotations"]; ok {
		metadata["annotations"] = annotations
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
	check(n.T, err)
	check(n.T, node.RunManifest(ring, string(text)))
	return ring
}

// logged waits until the log of a container has a line.
func (n *bare) logged(pod, container, line string) {
	n.Helper()
	within(n.T, 2*time.Minute, func() error {
		files, err := filepath.Glob("/run/log/pods/default_" + pod + "-node_*/" + container + "/*.log")
		if err != nil {
			return err
		}
		var all []byte
		for _, file := range files {
			data, _ := os.ReadFile(file)
			all = append(all, data...)
		}
		if !bytes.Contains(all, []byte(line)) {
			return fmt.Errorf("the log of %s has no %q:\n%s", container, line, all)
		}
		return nil
	})
}

// A pod of the chart sets a bare node up, by the node's own systemd and its bus, with
// no right but its mounts. A ring that undoes leaves the node as it was.
func TestInstaller(t *testing.T) {
	n := bareNode(t, versions()[0])
	check(t, os.RemoveAll("/etc/mirrorcred"))
	n.bus()
	// The pause image comes through no mirror here: a pod starts before there is one.
	push(t, pauseRegistry, "pause", "1")
	config, err := os.ReadFile(node.ContainerdConfig)
	check(t, err)
	write(t, node.ContainerdConfig, strings.Replace(string(config), privatePause, pauseImage, 1))
	n.do("restart", "containerd.service")
	n.isUp()
	pushMirrorcred(t)
	before := treeOf(t)

	values := fmt.Sprintf("installer: {bake: true}\nwatchFlags: --tick=5s\nallowed: |\n  version = 1\n  # the list\nmap: %q\n", oneMirror)
	n.runRing("default", values)
	n.logged("default", "install", "create   /var/lib/kubelet/credential-provider/mirror-credential-provider")
	within(t, time.Minute, func() error {
		_, err := n.systemd.Control(t.Context(), "is-active", "mirrorcred.service")
		return err
	})
	n.isUp()
	if list, err := os.ReadFile("/etc/mirrorcred/allowed.toml"); err != nil || string(list) != "version = 1\n# the list\n" {
		t.Errorf("allowed.toml has %q, %v", list, err)
	}
	if got := n.do("show", "--property=ExecStart", "--value", "mirrorcred.service"); !strings.Contains(got, "/usr/local/bin/mirrorcred watch") {
		t.Errorf("the service runs %s", got)
	}
	if got := n.do("show", "--property=Environment", "--value", "mirrorcred.service"); !strings.Contains(got, "--tick=5s") {
		t.Errorf("the service has the environment %s", got)
	}
	n.runsPod("hello")

	// A second run of the installer changes nothing on the node and restarts nothing.
	running, watcher := treeOf(t), n.do("show", "--property=MainPID", "--value", "mirrorcred.service")
	check(t, node.RemovePod("default"))
	n.runRing("again", strings.Replace(values, "map:", "rings: [{name: again}]\nmap:", 1))
	n.logged("again", "install", "in sync")
	if changes := slices.DeleteFunc(running.changes(treeOf(t), false), isLog); len(changes) > 0 {
		t.Errorf("a second run changes:\n%s", strings.Join(changes, "\n"))
	}
	if now := n.do("show", "--property=MainPID", "--value", "mirrorcred.service"); now != watcher {
		t.Errorf("a second run restarts the watcher: process %s; want %s", now, watcher)
	}

	// What the node does not allow was delivered, and the courier is gone. The installer
	// of the next map gets past it.
	n.logged("again", "courier", "lock taken") // or it would begin after the next line
	check(t, node.RemovePod("again"))
	lockIsFree(t, deliveredMap)
	write(t, deliveredMap, oneMirror+"[registry.\"contoso.azurecr.io\"]\nca = \"/etc/ssl/corp.pem\"\n")
	n.runRing("repaired", strings.Replace(values, "map:", "rings: [{name: repaired}]\nmap:", 1))
	n.logged("repaired", "install", "the map in /etc/mirrorcred/delivered is now this pod's")
	within(t, time.Minute, func() error {
		if data, err := os.ReadFile(deliveredMap); err != nil || strings.TrimSpace(string(data)) != strings.TrimSpace(oneMirror) {
			return fmt.Errorf("the node's map is %q, %v", data, err)
		}
		return nil
	})

	check(t, node.RemovePod("repaired"))
	check(t, node.RemovePod("hello"))
	n.runRing("leaving", "rings: [{name: leaving, undo: true}]\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := n.containerd.Running(ctx, "undone"); err != nil {
		n.logged("leaving", "undo", "the reason")
		t.Fatal(err)
	}
	check(t, node.RemovePod("leaving"))
	if changes := slices.DeleteFunc(before.changes(treeOf(t), false), isLog); len(changes) > 0 {
		t.Errorf("after undo the node is not as it was:\n%s", strings.Join(changes, "\n"))
	}
}

// lockIsFree waits until no courier holds the lock beside a map.
func lockIsFree(t *testing.T, file string) {
	t.Helper()
	within(t, time.Minute, func() error {
		lock, err := os.Open(filepath.Join(filepath.Dir(file), "courier.lock"))
		if err != nil {
			return err
		}
		defer lock.Close()
		return unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	})
}

// isLog reports whether a change is one of the unit's log, of the lock that names the
// courier's pod, or of the map that the test mounts.
func isLog(change string) bool {
	return strings.Contains(change, "/opt/map") || strings.Contains(change, "bootstrap.log") || strings.Contains(change, "courier.lock")
}
