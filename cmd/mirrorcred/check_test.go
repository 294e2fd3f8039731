package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// TestFindingsDocumented holds docs/check.md against the names that the code has:
// each finding is there, with its severity, and there is no other.
func TestFindingsDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`(?m)^\t?(?:const )?[A-Z]\w+ += "([a-z0-9-]+)"$`)
	known := map[string]bool{}
	for _, file := range []string{"../internal/doctor/names.go", "../internal/doctor/probe.go", "../../mirror/fault.go", "../../credential/kubeletconfig/decode.go", "../../hosts/remarks.go", "../../hosts/containerdconfig/reason.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range name.FindAllStringSubmatch(string(source), -1) {
			known[found[1]] = true
			if row := fmt.Sprintf("| `%s` | %s |", found[1], doctor.SeverityOf(found[1])); !strings.Contains(string(document), row) {
				t.Errorf("docs/check.md has no row %q, for %s", row, file)
			}
		}
	}
	if len(known) < 110 {
		t.Errorf("%d names: does the test recognise them?", len(known))
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)`").FindAllStringSubmatch(string(document), -1) {
		if !known[row[1]] {
			t.Errorf("docs/check.md has %q, which nothing reports", row[1])
		}
	}
}
