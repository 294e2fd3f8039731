package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// program returns a command of the program.
func program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "MIRRORCRED_TEST_MAIN=1")
	return cmd
}

const (
	mapPath    = "etc/mirrorcred/mirrors.toml"
	configPath = "etc/containerd/config.toml"
	hostsPath  = "etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"
	routePath  = "var/lib/mirrorcred/routes/mcr.microsoft.com.json"
	config     = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n"
)

// oneMirror returns a map with a mirror at a target.
func oneMirror(target string) string {
	return fmt.Sprintf("version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [%q]\n", target)
}

// A tree is the root of a node.
type tree struct {
	testing.TB
	root    string
	program string // "" is this one
}

// newTree returns a node that is ready for a map.
func newTree(t testing.TB) tree {
	// Not t.TempDir: the path of a socket is short.
	root, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	n := tree{TB: t, root: root}
	n.write(configPath, config)
	n.write("var/lib/kubelet/credential-provider/mirror-credential-provider", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(root, "var/lib/kubelet/credential-provider/mirror-credential-provider"), 0o755); err != nil {
		t.Fatal(err)
	}
	return n
}

// write puts a file into place by a rename.
func (n tree) write(name, text string) {
	n.Helper()
	name = filepath.Join(n.root, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name+".new", []byte(text), 0o644)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		n.Fatal(err)
	}
}

func (n tree) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(n.root, name)) // "" where there is none
	return string(data)
}

// until waits for something to be true.
func (n tree) until(what string, true func() bool) {
	n.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.Fatalf("%s: not within 20 s; the status is %+v", what, n.status())
		}
	}
}

// status asks as a user does; the zero status where nobody answers.
func (n tree) status() watch.Status {
	var s watch.Status
	out, _ := program(n, "status", "--json", "--root", n.root).Output()
	_ = json.Unmarshal(out, &s)
	return s
}

// watch starts a watcher; the function that it returns ends it and returns its
// log.
func (n tree) watch(args ...string) (cmd *exec.Cmd, stop func() string) {
	n.Helper()
	cmd = program(n, append([]string{"watch", "--root", n.root}, args...)...)
	if n.program != "" {
		cmd.Path = n.program
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	return cmd, func() string {
		n.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			n.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			n.Errorf("the watcher ended with %v:\n%s", err, log.String())
		}
		return log.String()
	}
}

// TestWatch follows one watcher through its day.
func TestWatch(t *testing.T) {
	n := newTree(t)
	address := freeAddress(t)
	cmd, stop := n.watch("--metrics-address", address)
	n.until("a fault without a map", func() bool { return strings.Contains(n.status().Fault, "there is no map") })

	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	n.until("in step with its first map", func() bool { s := n.status(); return s.InStep && s.Sources == 1 })
	whole := n.read(hostsPath)
	n.write(mapPath, "version = \n")
	n.until("a fault", func() bool { return strings.Contains(n.status().Fault, "mirrors.toml:1") })
	if n.read(hostsPath) != whole {
		t.Error("a map with a fault changed hosts.toml")
	}
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	n.until("repaired", func() bool { return n.status().InStep })

	n.write(configPath, strings.Replace(config, "/etc/containerd/certs.d", "/etc/docker/certs.d", 1))
	n.until("the routes are gone", func() bool { return n.read(routePath) == "" && n.status().Fault != "" })
	n.write(configPath, config)
	n.until("the routes are back", func() bool { return n.read(routePath) != "" && n.status().InStep })

	before := n.status().Looked
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.until("a look after SIGHUP", func() bool { return n.status().Looked.After(before) })
	if text := get(t, "http://"+address+"/metrics"); !strings.Contains(text, "\nmirrorcred_in_step 1\n") {
		t.Errorf("the metrics are\n%s", text)
	}
	if text := get(t, "http://"+address+"/healthz"); !strings.HasPrefix(text, "ok\n1 sources") {
		t.Errorf("the health is %q", text)
	}
	if log := stop(); strings.Contains(log, "somebody else") || !strings.Contains(log, "msg=stopped") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestTwoWatchers runs two on one node, and apply beside them.
func TestTwoWatchers(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch()
	n.until("in step", func() bool { return n.status().InStep })
	_, stopOther := n.watch("--socket", filepath.Join(n.root, "other.sock"))
	for i := range 6 {
		target := fmt.Sprintf("contoso%d.azurecr.io", i)
		n.write(mapPath, oneMirror(target))
		if i%2 == 0 {
			if out, err := program(t, "apply", "--root", n.root).CombinedOutput(); err != nil {
				t.Errorf("apply: %v\n%s", err, out)
			}
		}
		n.until(target, func() bool { return strings.Contains(n.read(hostsPath), target) })
	}
	for _, log := range []string{stop(), stopOther()} {
		if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the log is\n%s", log)
		}
	}
}

// BenchmarkLatency takes the time from the rename of the map into its place to
// both sides having turned: hosts.toml names the new target, and the route has
// no other.
func BenchmarkLatency(b *testing.B) {
	installed := install(b)
	for _, mirrors := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(mirrors), func(b *testing.B) {
			n := newTree(b)
			n.program = installed
			n.write(mapPath, manyMirrors(mirrors, "first.azurecr.io"))
			_, stop := n.watch()
			n.until("in step", func() bool { return n.status().InStep })
			var took []time.Duration
			for i := range 200 {
				target := fmt.Sprintf("target%d.azurecr.io", i)
				next := manyMirrors(mirrors, target)
				start := time.Now()
				n.write(mapPath, next)
				n.until(target, func() bool {
					route := n.read(routePath)
					return strings.Contains(n.read(hostsPath), target) && strings.Contains(route, target) && strings.Count(route, `"targets"`) == 1
				})
				took = append(took, time.Since(start))
			}
			stop()
			slices.Sort(took)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(took[len(took)/2]), "ms-median")
			b.ReportMetric(ms(took[len(took)*99/100]), "ms-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMemory takes the resident memory of a watcher with 100 mirrors that
// has found nothing to do for some looks, and which part of it is its own and
// not that of its file.
func BenchmarkMemory(b *testing.B) {
	installed := install(b)
	var all, own []float64
	for range 7 {
		n := newTree(b)
		n.program = installed
		n.write(mapPath, manyMirrors(100, "contoso.azurecr.io"))
		cmd, stop := n.watch("--tick=1s")
		for range 4 {
			before := n.status().Looked
			n.until("another look", func() bool { s := n.status(); return s.InStep && s.Looked.After(before) })
		}
		all, own = append(all, memory(b, cmd.Process.Pid, "VmRSS")), append(own, memory(b, cmd.Process.Pid, "RssAnon"))
		stop()
	}
	slices.Sort(all)
	slices.Sort(own)
	b.ReportMetric(all[len(all)/2], "MiB-RSS")
	b.ReportMetric(own[len(own)/2], "MiB-own")
	b.ReportMetric(0, "ns/op")
}

// manyMirrors returns a map of so many mirrors, of which the first has that
// target.
func manyMirrors(mirrors int, target string) string {
	var s strings.Builder
	s.WriteString(oneMirror(target))
	for i := range mirrors - 1 {
		fmt.Fprintf(&s, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [\"contoso.azurecr.io\"]\n", i)
	}
	return s.String()
}

// install builds the program as it is installed and returns its path.
func install(b *testing.B) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "bin")
	build := exec.Command("make", "-C", "../..", "build", "BIN="+dir)
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("make build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "mirrorcred")
}

// memory returns a figure of /proc/PID/status in MiB.
func memory(b *testing.B, pid int, name string) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "\n"+name+":")
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return kib / 1024
}

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, response.Status, err)
	}
	return string(data)
}
