package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// BenchmarkCourier takes the time from the swap of a pod's volume to both sides having
// turned on the host, with 100 mirrors, and what a courier at rest needs that is asked
// whether it is ready each 5 s, and for the metrics each 15 s.
func BenchmarkCourier(b *testing.B) {
	n := newTree(b)
	n.program = install(b)
	n.must(os.MkdirAll(n.path(node.DeliveredDir), 0o755))
	_, stop := n.watch()
	p := n.courier("ring", manyMirrors(100, "first.azurecr.io"))
	p.ready(200, "ok")
	var took []time.Duration
	for i := range 100 {
		target := fmt.Sprintf("target%d.azurecr.io", i)
		start := time.Now()
		p.deliver(manyMirrors(100, target))
		n.until(target, func() bool {
			route := n.read(routePath)
			return strings.Contains(n.read(hostsPath), target) && strings.Contains(route, target) && strings.Count(route, `"targets"`) == 1
		})
		took = append(took, time.Since(start))
	}
	p.ready(200, "ok")

	const rest = 30 * time.Second
	before := processor(b, p.cmd.Process.Pid)
	for second := range int(rest / time.Second) {
		if second%5 == 0 {
			p.get("/readyz")
		}
		if second%15 == 0 {
			p.get("/metrics")
		}
		time.Sleep(time.Second)
	}
	used := processor(b, p.cmd.Process.Pid) - before
	all, own := memory(b, p.cmd.Process.Pid, "VmRSS"), memory(b, p.cmd.Process.Pid, "RssAnon")
	p.stop()
	stop()

	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-median")
	b.ReportMetric(ms(took[len(took)*99/100]), "ms-p99")
	b.ReportMetric(all, "MiB-RSS")
	b.ReportMetric(own, "MiB-own")
	b.ReportMetric(ms(used)/rest.Seconds(), "ms-processor/s")
	b.ReportMetric(0, "ns/op")
}

// processor returns how long a process has had a processor. The kernel counts in hundredths
// of a second (proc_pid_stat(5)).
func processor(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	var user, system int64
	if len(fields) < 13 {
		b.Fatalf("the kernel says %q", data)
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatalf("%q: %v", data, err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
