package mirror

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse parses a map of 10,000 mirrors.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("version = 1\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"registry-%d.example\"\ntargets = [\"contoso.azurecr.io/mirrors/r%d\"]\n", i, i)
	}
	data := []byte(text.String())
	for b.Loop() {
		if _, err := Parse("mirrors.toml", data); err != nil {
			b.Fatal(err)
		}
	}
}
