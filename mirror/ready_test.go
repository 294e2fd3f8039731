package mirror

import (
	"fmt"
	"testing"
	"time"
)

// TestReady reads the durations that a map may have, the bounds included.
func TestReady(t *testing.T) {
	for text, want := range map[string]time.Duration{"1s": time.Second, "60s": time.Minute, "1h": time.Hour, "1m30s": 90 * time.Second} {
		m := mustParse(t, fmt.Sprintf("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"cache.corp\"]\nready = %q\n", text))
		if got := m.Mirrors[0].Ready; got != want {
			t.Errorf("ready of %q = %v; want %v", text, got, want)
		}
	}
}

// TestReadyKey holds that a mirror waits anew exactly if its source, its first target
// or the time changes.
func TestReadyKey(t *testing.T) {
	key := func(source, targets, rest string) string {
		m := mustParse(t, fmt.Sprintf("version = 1\n[[mirror]]\nsource = %q\ntargets = [%s]\n%s", source, targets, rest))
		return m.Mirrors[0].ReadyKey()
	}
	first := key("docker.io", `"cache.corp"`, "ready = \"60s\"\n")
	if len(first) != 32 {
		t.Errorf("the key is %q; want 32 digits", first)
	}
	for what, same := range map[string]string{
		"another second target":    key("docker.io", `"cache.corp", "other.corp"`, "ready = \"60s\"\n"),
		"the time in other words":  key("docker.io", `"cache.corp"`, "ready = \"1m\"\n"),
		"the target in full":       key("docker.io", `"https://cache.corp:443/v2"`, "ready = \"60s\"\n"),
		"settings of the registry": key("docker.io", `"cache.corp"`, "ready = \"60s\"\n[registry.\"cache.corp\"]\ndial_timeout = \"1s\"\n"),
	} {
		if same != first {
			t.Errorf("%s: the key is another one", what)
		}
	}
	seen := map[string]string{first: "the first"}
	for what, other := range map[string]string{
		"another source":       key("quay.io", `"cache.corp"`, "ready = \"60s\"\n"),
		"another first target": key("docker.io", `"other.corp", "cache.corp"`, "ready = \"60s\"\n"),
		"another port":         key("docker.io", `"cache.corp:5000"`, "ready = \"60s\"\n"),
		"another prefix":       key("docker.io", `"cache.corp/hub"`, "ready = \"60s\"\n"),
		"another scheme":       key("docker.io", `"http://cache.corp"`, "ready = \"60s\"\n"),
		"another time":         key("docker.io", `"cache.corp"`, "ready = \"61s\"\n"),
	} {
		if was, ok := seen[other]; ok {
			t.Errorf("%s: the key is that of %s", what, was)
		}
		seen[other] = what
	}
}
