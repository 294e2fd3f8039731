package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A map in a ConfigMap, mounted into a pod that runs: each time it is edited, the
// kubelet swaps the volume's link "..data". Whoever reads through the link meanwhile
// reads one map or the other, whole. Carried over to the node's map, each is in force.
//
// The watcher itself does not take a map from the volume, whose directory any user may
// write to.
func TestMapInAConfigMap(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	c := startContainerd(t, versions()[0])
	apply(t, retargeted(0), 0)
	for n := range 3 {
		push(t, []string{contoso, fabrikam}[n%2], fmt.Sprintf("t%d/app/hello", n), "1")
	}
	push(t, contoso, "t0/app/mounts", "1")
	joinCluster(t, k, c)
	deliver := func(text string) {
		t.Helper()
		check(t, k.Apply(t.Context(), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata:\n  mirrors.toml: |\n"+indented(text)))
	}
	deliver(retargeted(0))
	check(t, k.Apply(t.Context(), strings.Replace(pod("mounts", "default", "mcr.microsoft.com/app/mounts:1"), "imagePullPolicy",
		"volumeMounts: [{name: map, mountPath: /map}], imagePullPolicy", 1)+"  volumes: [{name: map, configMap: {name: map}}]\n"))
	podRuns(t, k, "mounts")
	o, err := k.Get(t.Context(), cluster.Pod("default", "mounts"))
	check(t, err)
	volume := filepath.Join("/var/lib/kubelet/pods", o.Text("metadata", "uid"), "volumes/kubernetes.io~configmap/map")
	delivered := filepath.Join(volume, "mirrors.toml")
	if to, err := os.Readlink(delivered); err != nil || to != "..data/mirrors.toml" {
		t.Fatalf("%s leads to %q, %v; want ..data/mirrors.toml", delivered, to, err)
	}
	if out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "apply", "--map", delivered).CombinedOutput(); err == nil || !strings.Contains(string(out), "mode 0777") {
		t.Errorf("mirrorcred apply takes a map from the volume, whose mode is 0777: %v\n%s", err, out)
	}
	startWatcher(t)

	for n := 1; n < 3; n++ {
		before, err := os.Readlink(filepath.Join(volume, "..data"))
		check(t, err)
		deliver(retargeted(n))
		text := swapped(t, delivered, retargeted(n-1), retargeted(n))
		if after, err := os.Readlink(filepath.Join(volume, "..data")); err != nil || after == before {
			t.Errorf("..data leads to %q, %v; want another directory than before", after, err)
		}
		check(t, errors.Join(os.WriteFile(mapFile+".new", []byte(text), 0o644), os.Rename(mapFile+".new", mapFile)))
		within(t, time.Minute, func() error {
			data, err := os.ReadFile(hostsFile)
			if err == nil && !strings.Contains(string(data), strings.Replace(nthTarget(n), "/", "/v2/", 1)) {
				err = fmt.Errorf("%s is still\n%s", hostsFile, data)
			}
			return err
		})
		check(t, pull(t.Context(), c, "mcr.microsoft.com/app/hello", "1"))
	}
	silent(t, "mcr.microsoft.com")
}

// swapped reads a map again and again until it is the new one, and returns it. What it
// reads until then must be the old one, whole.
func swapped(t *testing.T, file, before, after string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		data, err := os.ReadFile(file)
		check(t, err)
		if _, err := mirror.Parse(file, data); err != nil {
			t.Fatalf("a text that is not a map was read: %v\n%s", err, data)
		}
		switch strings.TrimSpace(string(data)) {
		case strings.TrimSpace(after):
			return string(data)
		case strings.TrimSpace(before):
		default:
			t.Fatalf("neither map was read, but\n%s", data)
		}
	}
	t.Fatalf("%s did not change within a minute", file)
	return ""
}

// indented moves each line of a text in, as a block of YAML.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}
