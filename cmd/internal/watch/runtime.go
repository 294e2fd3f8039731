package watch

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// exposeProcess adds what this process takes of the machine, under the names that
// Prometheus' client libraries have for it. What the kernel does not tell is left
// out.
func exposeProcess(e *exposition, started time.Time) {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		e.metric(counter, "process_cpu_seconds_total", "User and system processor time in seconds.",
			time.Duration(used.Utime.Nano()+used.Stime.Nano()).Seconds())
	}
	if data, err := input.ReadFile("/proc/self/statm", 0); err == nil {
		for i, field := range bytes.Fields(data)[:2] {
			pages, _ := strconv.ParseFloat(string(field), 64)
			name, help := "process_virtual_memory_bytes", "Virtual memory in bytes."
			if i == 1 {
				name, help = "process_resident_memory_bytes", "Resident memory in bytes."
			}
			e.metric(gauge, name, help, pages*float64(os.Getpagesize()))
		}
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		e.metric(gauge, "process_open_fds", "Open file descriptors.", float64(len(open)-1)) // one is the directory's
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		most := float64(limit.Cur)
		if limit.Cur == math.MaxUint64 {
			most = math.Inf(1)
		}
		e.metric(gauge, "process_max_fds", "How many file descriptors may be open.", most)
	}
	e.metric(gauge, "process_start_time_seconds", "When the process started, in seconds since 1970.", seconds(started))
}

// exposeGo adds what Go's runtime reports.
func exposeGo(e *exposition) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	e.info("go_info", "Always 1; the label is the version of Go.", "version", runtime.Version())
	e.metric(gauge, "go_goroutines", "Goroutines that exist now.", float64(runtime.NumGoroutine()))
	e.metric(gauge, "go_memstats_heap_alloc_bytes", "Bytes of heap objects.", float64(m.HeapAlloc))
	e.metric(gauge, "go_memstats_heap_inuse_bytes", "Bytes in spans of the heap that are in use.", float64(m.HeapInuse))
	e.metric(gauge, "go_memstats_sys_bytes", "Bytes that Go has from the system.", float64(m.Sys))
}
