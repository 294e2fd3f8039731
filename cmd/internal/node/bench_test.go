package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkApply applies maps below another root: for the first time, and
// where nothing is to do.
func BenchmarkApply(b *testing.B) {
	for _, mirrors := range []int{10, 1000, 10_000} {
		var text strings.Builder
		text.WriteString("version = 1\n")
		for i := range mirrors {
			fmt.Fprintf(&text, "[[mirror]]\nsource = \"registry-%d.example\"\ntargets = [\"contoso.azurecr.io/mirrors/r%d\"]\n", i, i)
		}
		b.Run(fmt.Sprintf("%d/changed", mirrors), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				n := benchNode(b, text.String())
				b.StartTimer()
				apply(b, n)
				b.StopTimer()
				os.RemoveAll(n.Root)
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("%d/unchanged", mirrors), func(b *testing.B) {
			n := benchNode(b, text.String())
			apply(b, n)
			for b.Loop() {
				if plan := apply(b, n); len(plan.Changes) > 0 {
					b.Fatalf("%d changes", len(plan.Changes))
				}
			}
		})
	}
}

func benchNode(b *testing.B, text string) *Node {
	b.Helper()
	made, _ := newNode(b, text)
	return New(filepath.Clean(made.Root), "", false)
}
