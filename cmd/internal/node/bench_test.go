package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkApply applies maps below another root: for the first time, with other
// targets, if nothing changed, and if nothing changed and the node's directories are
// watched.
func BenchmarkApply(b *testing.B) {
	for _, mirrors := range []int{10, 1000, 10_000} {
		var text strings.Builder
		text.WriteString("version = 1\n")
		for i := range mirrors {
			fmt.Fprintf(&text, "[[mirror]]\nsource = \"registry-%d.example\"\ntargets = [\"contoso.azurecr.io/mirrors/r%d\"]\n", i, i)
		}
		b.Run(fmt.Sprintf("%d/changed", mirrors), func(b *testing.B) {
			n := benchNode(b, text.String())
			start := time.Now()
			apply(b, n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(time.Since(start).Seconds()*1000, "ms")
		})
		b.Run(fmt.Sprintf("%d/retargeted", mirrors), func(b *testing.B) {
			n, _ := newNode(b, text.String()) // below another root nothing drains
			apply(b, n)
			write(b, n.Map, strings.ReplaceAll(text.String(), "contoso", "fabrikam"))
			start := time.Now()
			apply(b, n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(time.Since(start).Seconds()*1000, "ms")
		})
		b.Run(fmt.Sprintf("%d/unchanged", mirrors), func(b *testing.B) {
			n := benchNode(b, text.String())
			apply(b, n)
			reportUnchanged(b, n)
		})
		b.Run(fmt.Sprintf("%d/watched", mirrors), func(b *testing.B) {
			n := benchNode(b, text.String())
			n.Remember = time.Minute
			n.Changes = &reported{covers: func(string) bool { return true }}
			apply(b, n)
			apply(b, n) // reads all files
			reportUnchanged(b, n)
		})
	}
}

// reportUnchanged applies a map that is in force 21 times and reports the median.
func reportUnchanged(b *testing.B, n *Node) {
	b.Helper()
	var times []time.Duration
	for range 21 {
		start := time.Now()
		if todo := apply(b, n); len(todo.Changes) > 0 {
			b.Fatalf("%d changes", len(todo.Changes))
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(times[0].Seconds()*1000, "least-ms")
	b.ReportMetric(times[len(times)/2].Seconds()*1000, "ms")
}

func benchNode(b *testing.B, text string) *Node {
	b.Helper()
	made, _ := newNode(b, text)
	return New(filepath.Clean(made.Root), "", false)
}
