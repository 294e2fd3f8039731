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

// BenchmarkTools runs the commands that a person or a boot waits for, as whole
// programs: check, explain, bake and join with 100 mirrors, and import of 1,000
// registries. The node is below another root, so what systemctl takes is missing. It
// reports medians, and the least time, which other work on the machine changes least.
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
		"bake":    {"bootstrap", "bake"},
		"join":    {"bootstrap", "join"},
	} {
		b.Run(name, func(b *testing.B) {
			var times, cpu []time.Duration
			for range 21 {
				args := args
				if args[0] == "bootstrap" {
					args = append(slices.Clone(args), "--root", newNode(b, text.String()))
				}
				cmd := exec.Command(program, args...)
				start := time.Now()
				out, err := cmd.CombinedOutput()
				var code *exec.ExitError
				found := args[0] == "check" && errors.As(err, &code) // it exits with 1 if it finds something
				if err != nil && !found || len(out) == 0 {
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

// newNode returns the root of a node of kubeadm's that has a map and nothing of
// mirrorcred's.
func newNode(b *testing.B, text string) string {
	b.Helper()
	root := filepath.Join(b.TempDir(), "root")
	for name, data := range map[string]string{
		"etc/containerd/config.toml":             "version = 2\n",
		"etc/default/kubelet":                    "KUBELET_EXTRA_ARGS=--node-ip=10.0.0.4\n",
		"etc/kubernetes/azure.json":              `{"tenantId": "contoso", "useManagedIdentityExtension": true}`,
		"etc/mirrorcred/mirrors.toml":            text,
		"usr/lib/systemd/system/kubelet.service": "[Service]\nEnvironmentFile=-/etc/default/kubelet\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}
