package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tableFile is where the table stands for readers.
const tableFile = "../docs/compatibility.md"

const tableHead = `# What was seen to work

Each row is a version of containerd, run as a node runs it and set up by ` + "`mirrorcred apply`" + `
with one map for all versions. Each column is a way to mirror. "yes" means that the pull
of an image through the CRI, with the plugin's answer, got the image from the registry
in the map; that this registry was offered its own credential; and that the source was
not asked at all. TestTargetShapes in e2e writes this file, and fails if the file is not what
it sees.

`

// A table is what came out of the shapes, a line for each containerd.
type table struct {
	mu   sync.Mutex
	rows map[string]map[string]bool
}

func newTable() *table { return &table{rows: map[string]map[string]bool{}} }

func (t *table) set(version, shape string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[version] == nil {
		t.rows[version] = map[string]bool{}
	}
	t.rows[version][shape] = ok
}

// row returns the line of one containerd.
func (t *table) row(version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |", version, pullPath(version))
	for _, s := range shapes {
		word := "no"
		if t.rows[version][s.name] {
			word = "yes"
		}
		fmt.Fprintf(&b, " %s |", word)
	}
	return b.String() + "\n"
}

// pullPath names the part of containerd that pulls for the CRI by default.
func pullPath(version string) string {
	switch version[:3] {
	case "1.7":
		return "CRI"
	case "2.0":
		return "client"
	}
	return "transfer"
}

// String returns the whole table.
func (t *table) String() string {
	var b strings.Builder
	b.WriteString("| containerd | pulls by |")
	for _, s := range shapes {
		fmt.Fprintf(&b, " %s |", s.name)
	}
	b.WriteString("\n" + strings.Repeat("|---", len(shapes)+2) + "|\n")
	for _, version := range slices.Sorted(maps.Keys(t.rows)) {
		b.WriteString(t.row(version))
	}
	return b.String()
}

// hold fails the test if the file says something else of what was run, or
// writes the file.
func (t *table) hold(test *testing.T) {
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(tableFile, []byte(tableHead+t.String()), 0o644); err != nil {
			test.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(tableFile)
	if err != nil {
		test.Fatal(err)
	}
	for version := range t.rows {
		if !strings.Contains(string(data), t.row(version)) {
			test.Errorf("%s does not say what was seen of %s; run this with UPDATE=1 and %s=all", tableFile, version, versionsVariable)
		}
	}
}
