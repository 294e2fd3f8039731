package node

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestArmed holds the ways in which containerd is told of our tree, and those
// in which it is not.
func TestArmed(t *testing.T) {
	const (
		main  = "/etc/containerd/config.toml"
		extra = "/etc/containerd/conf.d/extra.toml"
		more  = "/etc/containerd/conf.d/more.toml"
		v2    = "[plugins.'io.containerd.grpc.v1.cri'.registry]\n"
		v3    = "[plugins.'io.containerd.cri.v1.images'.registry]\n"
		dir   = "config_path = '/etc/containerd/certs.d'\n"
		other = "config_path = '/etc/docker/certs.d'\n"
		list  = "config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n"
		all   = "imports = ['conf.d/*.toml']\n"
	)
	tests := map[string]struct {
		files map[string]string
		inMap string
		want  string // in the error; "" where it is armed
	}{
		"version 2":                 {files: map[string]string{main: "version = 2\n" + v2 + dir}},
		"version 3":                 {files: map[string]string{main: "version = 3\n" + v3 + dir}},
		"version 4":                 {files: map[string]string{main: "version = 4\n" + v3 + dir}},
		"no version":                {files: map[string]string{main: v2 + dir}, want: "config.toml has no version or version = 1"},
		"another directory":         {files: map[string]string{main: "version = 3\n" + v3 + other}, want: `containerd reads config_path = "/etc/docker/certs.d" (`},
		"a list":                    {files: map[string]string{main: "version = 3\n" + v3 + list}, want: `config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"`},
		"nothing":                   {files: map[string]string{main: "version = 3\n"}, want: "config.toml sets no config_path, and containerd's own default reads no hosts.toml of ours"},
		"no file":                   {want: "config.toml is not there"},
		"no file, and the map says": {inMap: dir},
		"the map says another":      {inMap: other, want: `the map says that containerd's config_path is "/etc/docker/certs.d"`},
		"the map says, wrongly":     {files: map[string]string{main: "version = 3\n" + v3 + other}, inMap: dir, want: "which is not hosts_dir"},
		"version 3, table of 2":     {files: map[string]string{main: "version = 3\n" + v2 + dir}, want: "where containerd does not look for it with version = 3"},
		"version 2, table of 3":     {files: map[string]string{main: "version = 2\n" + v3 + dir}, want: "where containerd does not look for it with version = 2"},
		"mirrors":                   {files: map[string]string{main: "version = 2\n" + v2 + "[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'docker.io']\nendpoint = []\n"}, want: "config.toml has registry.mirrors, with which containerd refuses config_path"},
		"import sets it":            {files: map[string]string{main: all + "version = 3\n", extra: v3 + dir}},
		"import overrides":          {files: map[string]string{main: all + "version = 3\n" + v3 + dir, extra: "version = 3\n" + v3 + other}, want: "extra.toml"},
		"later import overrides":    {files: map[string]string{main: all + "version = 3\n", extra: v3 + other, more: v3 + dir}},
		"imports of imports are last": {files: map[string]string{
			main: all + "version = 3\n", extra: "imports = ['/etc/containerd/deep/*']\n", more: v3 + dir, "/etc/containerd/deep/a.toml": v3 + other,
		}, want: "deep/a.toml"},
		"imports go round":         {files: map[string]string{main: all + "version = 3\n" + v3 + dir, extra: "imports = ['../config.toml']\n"}},
		"import of 1.x forgets":    {files: map[string]string{main: all + "version = 2\n" + v2 + dir, extra: "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"}, want: "extra.toml has a table"},
		"import of 2.x does not":   {files: map[string]string{main: all + "version = 2\n" + v2 + dir, extra: "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"}, inMap: "version = '2.1'\n"},
		"import of version 3":      {files: map[string]string{main: all + "version = 3\n" + v3 + dir, extra: "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\n"}},
		"import of another plugin": {files: map[string]string{main: all + "version = 2\n" + v2 + dir, extra: "version = 2\n[plugins.'io.containerd.grpc.v1.other']\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, oneMap)
			apply(t, n)
			if err := os.Remove(n.path(main)); err != nil {
				t.Fatal(err)
			}
			for path, text := range test.files {
				write(t, n.path(path), text)
			}
			write(t, n.Map, oneMap+"[containerd]\n"+test.inMap)
			_, err := n.Apply(t.Context())
			_, answerErr := answer(t, n, "mcr.microsoft.com")
			if test.want == "" {
				if err != nil || answerErr != nil {
					t.Errorf("apply: %v, answer: %v; want both", err, answerErr)
				}
				return
			}
			var notArmed *NotArmedError
			if !errors.As(err, &notArmed) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "; ") {
				t.Errorf("apply: %v; want a NotArmedError with %q and what to do", err, test.want)
			}
			if answerErr == nil {
				t.Error("there is an answer; want none where containerd reads another tree")
			}
			wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
		})
	}
}

// TestContainerdUnreadable tells that a configuration that is not TOML takes
// no credential away: containerd runs with what it read before.
func TestContainerdUnreadable(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins\n")
	before := tree(t, n.Root, true)
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "config.toml:2: containerd's configuration is not TOML") {
		t.Errorf("apply: %v; want the file and the line", err)
	}
	sameTree(t, tree(t, n.Root, true), before)
}

// TestArmedAgain tells that routes come back with the configuration.
func TestArmedAgain(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	before := tree(t, n.Root, true)
	config := n.path("/etc/containerd/config.toml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, "version = 3\n")
	for range 2 {
		if _, err := n.Apply(t.Context()); err == nil {
			t.Error("apply succeeds; want it not to")
		}
	}
	if _, err := os.Stat(n.path(routesDir)); err == nil {
		t.Error("the routes are there; want them gone")
	}
	write(t, config, string(data))
	wantLeft(t, apply(t, n), "")
	sameTree(t, tree(t, n.Root, true), before)
}

// TestNotArmedWithABadMap tells that a map with a fault does not keep the
// routes of the one before where containerd does not read our tree any more.
func TestNotArmedWithABadMap(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	write(t, n.Map, "version = \n")
	_, err := n.Apply(t.Context())
	if _, answerErr := answer(t, n, "mcr.microsoft.com"); err == nil || answerErr != nil {
		t.Errorf("apply: %v, answer: %v; want a fault, and the answer of before", err, answerErr)
	}
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n")
	_, err = n.Apply(t.Context())
	var notArmed *NotArmedError
	if !errors.As(err, &notArmed) || !strings.Contains(err.Error(), "mirrors.toml:1") {
		t.Errorf("apply: %v; want a NotArmedError, and the fault of the map", err)
	}
	if offers, err := answer(t, n, "mcr.microsoft.com"); err == nil {
		t.Errorf("the answer is %v; want none where containerd reads another tree", offers)
	}
}
