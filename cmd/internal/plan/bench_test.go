package plan

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkMake plans 10,000 mirrors: as they are, and each with another target.
func BenchmarkMake(b *testing.B) {
	text := func(target string) string {
		var s strings.Builder
		s.WriteString("version = 1\n")
		for i := range 10_000 {
			fmt.Fprintf(&s, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [%q]\n", i, target)
		}
		return s.String()
	}
	before, after := desire(text("contoso.azurecr.io")), desire(text("fabrikam.azurecr.io"))
	w := newWorld(nil)
	if _, err := w.apply(before); err != nil {
		b.Fatal(err)
	}
	for name, d := range map[string]Desired{"unchanged": before, "changed": after} {
		o := w.observe(d)
		for _, q := range []Question{{About: AboutProgram, Path: d.Map.Kubelet.BinDir + "/" + PluginName}} {
			o.Answers[q] = Answer{}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, questions, err := Make(d, o, Moments{Moment: w.now}); err != nil || len(questions) > 0 {
					b.Fatal(questions, err)
				}
			}
		})
	}
}
