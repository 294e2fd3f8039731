package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAsTrusted refuses a plugin that another user may have put beside the manager.
func TestAsTrusted(t *testing.T) {
	for name, test := range map[string]struct {
		manager, plugin os.FileMode
		give            [2]int // owners, if root runs this
		want            string
	}{
		"installed":           {manager: 0o755, plugin: 0o755},
		"a shared folder":     {manager: 0o777, plugin: 0o777},
		"unpacked for a user": {manager: 0o755, plugin: 0o755, give: [2]int{1001, 1001}},
		"open for all":        {manager: 0o755, plugin: 0o757, want: "other users may change it (mode 0757)"},
		"open for its group":  {manager: 0o755, plugin: 0o775, want: "other users may change it (mode 0775)"},
		"of another user":     {manager: 0o755, plugin: 0o755, give: [2]int{0, 65534}, want: "it belongs to user 65534"},
		"of two users":        {manager: 0o755, plugin: 0o755, give: [2]int{1001, 1002}, want: "it belongs to user 1002"},
	} {
		dir := t.TempDir()
		names := []string{filepath.Join(dir, "mirrorcred"), filepath.Join(dir, Plugin)}
		for i, mode := range []os.FileMode{test.manager, test.plugin} {
			if err := os.WriteFile(names[i], nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(names[i], mode); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() != 0 {
				continue
			}
			if err := os.Chown(names[i], test.give[i], 0); err != nil {
				t.Fatal(err)
			}
		}
		if os.Geteuid() != 0 && test.give != [2]int{} {
			continue // only root can give files away
		}
		if err := asTrusted(names[1], names[0]); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
}

// TestDamagedRecord holds that a record which says nothing is not taken for one that
// has nothing to undo: then the copies would be removed.
func TestDamagedRecord(t *testing.T) {
	const name = "/r/var/lib/mirrorcred/bootstrap.json"
	for text, want := range map[string]string{
		"":                       "it is empty; ",
		"null":                   "it has no version; ",
		"{\"entries\": []}":      "it has no version; ",
		"{\"version\": 1, \"ent": "unexpected end of JSON input; ",
		"{\"version\": 2}":       "version 2 is from a newer mirrorcred; use that one",
		"{\"version\": 1}":       "",
		"{\"version\": 1, \"entries\": [{\"path\": \"/etc/../x\"}]}": "which mirrorcred did not write",
	} {
		_, err := decodeRecord(name, []byte(text))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), name+": ")) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "start anew") && !strings.Contains(err.Error(), "together with /r/var/lib/mirrorcred/bootstrap, ") {
			t.Errorf("%q: %v; want the copies named", text, err)
		}
	}
}
