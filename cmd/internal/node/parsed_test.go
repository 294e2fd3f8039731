package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestParsedOnce checks that a map is parsed again exactly if something changed that
// decides what it says.
func TestParsedOnce(t *testing.T) {
	n, _ := newNode(t, "version = 1\n")
	n = New(n.Root, "", false)
	read := func(changed string) {
		t.Helper()
		before := n.parsed.m
		if _, err := n.ReadMap(); err != nil {
			t.Fatalf("%s: %v", changed, err)
		}
		if isNew := n.parsed.m != before; isNew != (changed != "nothing") {
			t.Errorf("%s changed, and the map is parsed again: %v", changed, isNew)
		}
	}
	own := n.path(DefaultMap)
	write(t, own, "version = 1\n")
	read("the first time, everything")
	read("nothing")
	write(t, own, "version = 1\n# the same\n")
	read("the text")
	if err := os.Chmod(own, 0o600); err != nil {
		t.Fatal(err)
	}
	read("who can read it")
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	delivered := n.path(DeliveredMap)
	if err := os.MkdirAll(filepath.Dir(delivered), 0o755); err != nil {
		t.Fatal(err)
	}
	const exec = "version = 1\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/x\"\n"
	write(t, delivered, "version = 1\n")
	n = New(n.Root, "", false)
	read("the place")
	read("nothing")
	write(t, n.path(AllowedFile), exec)
	read("the list")
	read("nothing")
	write(t, delivered, exec)
	read("the text")
	write(t, n.path(AllowedFile), "version = 1\n")
	if _, err := n.ReadMap(); err == nil || !strings.Contains(err.Error(), "is not allowed") {
		t.Errorf("a list without the command: %v", err)
	}
	write(t, n.path(AllowedFile), exec)
	read("nothing")
}
