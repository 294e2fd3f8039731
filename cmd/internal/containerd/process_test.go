package containerd

import (
	"strings"
	"testing"
)

func TestConfigFlag(t *testing.T) {
	for line, want := range map[string]string{
		"containerd":                                      "",
		"containerd -c /a.toml":                           "/a.toml",
		"containerd --c=/a.toml":                          "/a.toml",
		"containerd -config /a.toml":                      "/a.toml",
		"containerd --config /a.toml":                     "/a.toml",
		"containerd --config=/a.toml --config /b.toml":    "/b.toml",
		"containerd --log-level debug --config=/a.toml":   "/a.toml",
		"containerd --log-level --config --config=/a.tom": "/a.tom",
		"containerd -l debug -a /s --root /r -c /a":       "/a",
		"containerd -v -c /a":                             "/a",
		"containerd config dump -c /a":                    "",
		"containerd -- -c /a":                             "",
		"containerd - -c /a":                              "",
		"containerd -c":                                   "",
	} {
		got, given := configFlag(strings.Fields(line))
		if got != want || given != (want != "") {
			t.Errorf("configFlag(%q) = %q, %t; want %q", line, got, given, want)
		}
	}
}
