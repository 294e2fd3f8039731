package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

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

// TestWatch follows one watcher through its day.
func TestWatch(t *testing.T) {
	n := newTree(t)
	address := freeAddress(t)
	cmd, stop := n.watch("--metrics-address", address)
	n.until("a fault without a map", func() bool { return strings.Contains(n.status().Fault, "there is no map: ") })

	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	n.until("in sync with its first map", func() bool { s := n.status(); return s.InSync && s.Sources == 1 })
	whole := n.read(hostsPath)
	n.write(mapPath, "version = \n")
	n.until("a fault", func() bool { return strings.Contains(n.status().Fault, "mirrors.toml:1") })
	if n.read(hostsPath) != whole {
		t.Error("a map with a fault changed hosts.toml")
	}
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	n.until("repaired", func() bool { return n.status().InSync })

	n.write(configPath, strings.Replace(config, "/etc/containerd/certs.d", "/etc/docker/certs.d", 1))
	n.until("the routes are gone", func() bool { return n.read(routePath) == "" && n.status().Fault != "" })
	n.write(configPath, config)
	n.until("the routes are back", func() bool { return n.read(routePath) != "" && n.status().InSync })

	before := n.status().LastReconcile
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.until("a pass after SIGHUP", func() bool { return n.status().LastReconcile.After(before) })
	if text := get(t, "http://"+address+"/metrics"); !strings.Contains(text, "\nmirrorcred_in_sync 1\n") {
		t.Errorf("the metrics are\n%s", text)
	}
	if text := get(t, "http://"+address+"/healthz"); !strings.HasPrefix(text, "ok\n1 sources") {
		t.Errorf("the health is %q", text)
	}
	if log := stop(); strings.Contains(log, "another program keeps") || !strings.Contains(log, "msg=stopped") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestMetricsPortTaken has another user's program have the port of the metrics
// first. The node is watched anyway, and the metrics are served when the port
// is free.
func TestMetricsPortTaken(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	n.must(err)
	defer listener.Close()
	address := listener.Addr().String()
	_, stop := n.watch("--metrics-address", address)
	n.until("in sync without the port", func() bool { return n.status().InSync })
	n.must(listener.Close())
	n.until("the metrics are served", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if text := get(t, "http://"+address+"/metrics"); !strings.Contains(text, "\nmirrorcred_in_sync 1\n") {
		t.Errorf("the metrics are\n%s", text)
	}
	if log := stop(); strings.Count(log, "metrics not served") != 1 || strings.Count(log, "metrics served") != 1 {
		t.Errorf("the log is\n%s", log)
	}
}

// TestWarnings has what a warning is about come and go beside a watcher.
func TestWarnings(t *testing.T) {
	n := newTree(t)
	const azure = "etc/kubernetes/azure.json"
	whole := n.read(azure)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	address := freeAddress(t)
	_, stop := n.watch(never, "--metrics-address", address)
	n.until("in sync", func() bool { return n.status().InSync && len(n.status().Warnings) == 0 })
	for _, one := range []struct{ path, right, name string }{
		{azure, whole, "azure-json-missing"},
		{"etc/default/kubelet", n.read("etc/default/kubelet"), "flags-missing"},
		{"var/lib/kubelet/config.json", "", "node-docker-config-answers"},
		{".dockercfg", "", "node-docker-config-answers"},
	} {
		change := func(right bool) {
			switch {
			case right == (one.right != ""):
				n.write(one.path, cmp.Or(one.right, `{"auths": {"mcr.microsoft.com": {"auth": "dTpw"}}, "mcr.microsoft.com": {"auth": "dTpw"}}`))
			default:
				n.must(os.Remove(filepath.Join(n.root, one.path)))
			}
		}
		change(false)
		n.until(one.name, func() bool {
			s := n.status()
			return s.InSync && len(s.Warnings) == 1 && s.Warnings[0].Name == one.name
		})
		if text := get(t, "http://"+address+"/metrics"); !strings.Contains(text, "\nmirrorcred_warnings{warning=\""+one.name+"\"} 1\n") {
			t.Errorf("%s: the metrics are\n%s", one.name, text)
		}
		if out, err := program(t, "status", "--root", n.root).Output(); err != nil || !strings.Contains(string(out), "\nwarning   ") {
			t.Errorf("%s: the status is %v\n%s", one.name, err, out)
		}
		change(true)
		n.until(one.name+" is over", func() bool { return len(n.status().Warnings) == 0 })
	}
	if log := stop(); strings.Count(log, "level=WARN") != 4 || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestWatchNoSystemd has a watcher that may restart the kubelet run where no systemd
// manages one: the log says so once, and the status does.
func TestWatchNoSystemd(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(n.root, "bus"))
	_, stop := n.watch("--restart-kubelet", "--kubelet-unit", "mirrorcred-test-none.service", "--tick", "1s")
	n.until("the reason", func() bool { s := n.status(); return s.InSync && s.NoRestart != "" })
	out, err := program(n, "status", "--root", n.root).Output()
	if err != nil || !strings.Contains(string(out), "\nrestart   the kubelet cannot be restarted from here; restart it yourself when a source is pending: cannot reach systemd: ") {
		t.Errorf("the status is %v\n%s", err, out)
	}
	time.Sleep(2500 * time.Millisecond) // two more looks
	if log := stop(); strings.Count(log, "kubelet cannot be restarted from here") != 1 || strings.Contains(log, "old") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestTwoWatchers runs two on one node, and apply beside them.
func TestTwoWatchers(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch()
	n.until("in sync", func() bool { return n.status().InSync })
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
			n.until("in sync", func() bool { return n.status().InSync })
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
		cmd, stop := n.watch("--tick=2s")
		for range 10 {
			before := n.status().LastReconcile
			n.until("another look", func() bool { s := n.status(); return s.InSync && s.LastReconcile.After(before) })
		}
		time.Sleep(1500 * time.Millisecond) // the memory is given back when the watcher is at rest
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
