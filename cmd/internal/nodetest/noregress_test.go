package nodetest_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The third promise: a map with a fault never replaces a good state. The last good
// one stays, and the fault is reported with its file and line.

// badMaps are maps with one fault each, and the line that it is reported with.
var badMaps = map[string]struct{ text, line string }{
	"empty":            {"", ":1: "},
	"no version":       {"[[mirror]]\nsource = \"a.corp\"\ntargets = [\"b.corp\"]\n", ":1: "},
	"cut short":        {toContoso[:len(toContoso)-len(".azurecr.io\"]\n")], ":5: "},
	"an unknown key":   {toContoso + "share = true\n", ":6: "},
	"a path in source": {strings.Replace(toContoso, "mcr.microsoft.com", "mcr.microsoft.com/oss", 1), ":4: "},
	"no target":        {strings.Replace(toContoso, "\"contoso.azurecr.io\"", "", 1), ":5: "},
	"no credential":    {toContoso + "[registry.\"contoso.azurecr.io\"]\ncredential = \"none\"\n", ":7: "},
	"the source again": {toContoso + "[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"b.corp\"]\n", ":7: "},
}

// TestNoRegress applies a good map and then bad ones: no file of the node changes,
// and images are pulled as before.
func TestNoRegress(t *testing.T) {
	const image = "mcr.microsoft.com/app:v1"
	w := newWorld(t, "mcr.microsoft.com")
	digest := w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
	w.apply(toContoso)
	before := w.snapshot()
	for name, bad := range badMaps {
		t.Run(name, func(t *testing.T) {
			if err := w.node.WriteFile(nodetest.MapFile, bad.text); err != nil {
				t.Fatal(err)
			}
			run, err := w.node.Apply(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if run.Code != 1 || !strings.Contains(run.Stderr, nodetest.MapFile+bad.line) {
				t.Errorf("apply exits with %d and says %q; want 1 and the line%s", run.Code, run.Stderr, bad.line)
			}
			if after := w.snapshot(); !maps.Equal(before, after) {
				t.Errorf("the node changed: %v, and before %v", after, before)
			}
		})
	}
	w.onlyAt(image, "contoso.azurecr.io", digest)
	w.checkSources()
}
