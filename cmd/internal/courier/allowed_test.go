package courier

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// TestAllowed has the pod bring the list of what the map may name: a map that names more
// is not delivered, and the one before stays. The list counts as it is now.
func TestAllowed(t *testing.T) {
	const (
		shell = "version = 1\n[registry.\"a.example\"]\ncredential = \"x\"\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n"
		empty = "version = 1\n"
	)
	dir := t.TempDir()
	from, list, to := filepath.Join(dir, "map", mapName), filepath.Join(dir, "pod", "allowed.toml"), filepath.Join(dir, "host", mapName)
	c := &carrier{to: to, allowed: list}
	write(t, to, "")
	for _, step := range []struct {
		name, text, list, want, fault string
	}{
		{"what needs no permission", mapA, empty, mapA, ""},
		{"a command", shell, empty, mapA, `mirrors.toml:6: command "/bin/sh" of [credential.x] is not allowed in a map from the cluster; write it in [credential.x] of /etc/mirrorcred/allowed.toml on the node`},
		{"the command is allowed", shell, shell, shell, ""},
		{"and is not any more", shell, empty, shell, "is not allowed"},
		{"a repaired map", mapB, empty, mapB, ""},
		{"a list with a fault", mapB, "version = 3\n", mapB, "allowed.toml:1: version 3 is newer"},
		{"a list of no bytes", mapA, "", mapB, "version is missing"},
	} {
		write(t, from, step.text)
		write(t, list, step.list)
		_, err := c.run(from)
		if (err == nil) != (step.fault == "") || err != nil && !strings.Contains(err.Error(), step.fault) {
			t.Errorf("%s: %v; want %q", step.name, err, step.fault)
		}
		if got := read(t, to); got != step.want {
			t.Errorf("%s: the host has %q; want %q", step.name, got, step.want)
		}
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, err := c.run(from); err == nil || !strings.Contains(err.Error(), "allowed.toml does not exist; mount there what the node allows, or leave out --allowed") {
		t.Errorf("without the list: %v", err)
	}
}

// TestAllowedChanges has a courier that runs notice a changed list.
func TestAllowedChanges(t *testing.T) {
	v, list, deliver := &volume{dir: t.TempDir()}, filepath.Join(t.TempDir(), "allowed.toml"), t.TempDir()
	const ca = "version = 1\n[registry.\"a.example\"]\nca = \"/etc/ssl/ca.pem\"\n"
	v.set(t, ca)
	write(t, list, "version = 1\n")
	c, _ := running(t, Options{Map: filepath.Join(v.dir, mapName), Allowed: list, Deliver: deliver, Host: watch.Client{Socket: "/no/such"}, Log: slog.New(slog.DiscardHandler)})
	eventually(t, "the pod says what is not allowed", func() bool {
		code, body := probe(c, "/readyz")
		return code == 503 && strings.Contains(body, `mirrors.toml:3: ca "/etc/ssl/ca.pem" of [registry."a.example"] is not allowed`)
	})
	if got := read(t, filepath.Join(deliver, mapName)); got != "" {
		t.Errorf("the host has %q", got)
	}
	write(t, list, ca)
	eventually(t, "the map is delivered", func() bool { return read(t, filepath.Join(deliver, mapName)) == ca })
}
