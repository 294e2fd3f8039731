package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkTools runs the commands that a person waits for, as whole programs: check
// and explain with 100 mirrors, and import of 1,000 registries. It reports the median.
func BenchmarkTools(b *testing.B) {
	program := install(b)
	root := filepath.Join(b.TempDir(), "root")
	if err := newRoot(root); err != nil {
		b.Fatal(err)
	}
	var text, registries strings.Builder
	text.WriteString("version = 1\n")
	for i := range 100 {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"registry-%d.example\"\ntargets = [\"contoso.azurecr.io/mirrors/r%d\"]\n", i, i)
	}
	registries.WriteString("mirrors:\n")
	for i := range 1000 {
		fmt.Fprintf(&registries, "  registry-%d.example:\n    endpoint: [\"https://mirror-%d.example\"]\n", i, i)
	}
	yaml := filepath.Join(b.TempDir(), "registries.yaml")
	for name, data := range map[string]string{filepath.Join(root, "etc/mirrorcred/mirrors.toml"): text.String(), yaml: registries.String()} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if out, err := exec.Command(program, "apply", "--root", root).CombinedOutput(); err != nil {
		b.Fatalf("apply: %v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"check":   {"check", "--root", root},
		"explain": {"explain", "registry-50.example/app:1", "--root", root},
		"status":  {"status", "--root", root},
		"import":  {"import", yaml},
	} {
		b.Run(name, func(b *testing.B) {
			var times, cpu []time.Duration
			for range 21 {
				cmd := exec.Command(program, args...)
				start := time.Now()
				out, err := cmd.CombinedOutput()
				var code *exec.ExitError
				if err != nil && !errors.As(err, &code) || len(out) == 0 {
					b.Fatalf("%q: %v\n%s", args, err, out)
				}
				times = append(times, time.Since(start))
				cpu = append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			}
			slices.Sort(times)
			slices.Sort(cpu)
			b.ReportMetric(cpu[len(cpu)/2].Seconds()*1000, "cpu-ms")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(times[0].Seconds()*1000, "least-ms")
			b.ReportMetric(times[len(times)/2].Seconds()*1000, "ms")
		})
	}
}
