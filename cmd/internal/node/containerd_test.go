package node

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestArmed holds the ways in which containerd is told of mirrorcred's tree, and those
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
		want  string // in the error; "" if it is armed
	}{
		"version 2":                 {files: map[string]string{main: "version = 2\n" + v2 + dir}},
		"version 3":                 {files: map[string]string{main: "version = 3\n" + v3 + dir}},
		"version 4":                 {files: map[string]string{main: "version = 4\n" + v3 + dir}},
		"no version":                {files: map[string]string{main: v2 + dir}, want: "is read by containerd 1.7 with version = 2 only, and no file says that"},
		"another directory":         {files: map[string]string{main: "version = 3\n" + v3 + other}, want: `config.toml:3: [plugins."io.containerd.cri.v1.images".registry] config_path = "/etc/docker/certs.d"; `},
		"a list":                    {files: map[string]string{main: "version = 3\n" + v3 + list}, want: `config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"`},
		"nothing":                   {files: map[string]string{main: "version = 3\n"}, want: "config.toml: no config_path, also not in its imports"},
		"no file":                   {want: "config.toml: no such file"},
		"no file, and the map says": {inMap: dir},
		"the map says another":      {inMap: other, want: `the map sets config_path = "/etc/docker/certs.d"`},
		"the map says, wrongly":     {files: map[string]string{main: "version = 3\n" + v3 + other}, inMap: dir, want: `config_path = "/etc/docker/certs.d"`},
		"version 3, table of 2":     {files: map[string]string{main: "version = 3\n" + v2 + dir}, want: "is not read, because containerd 2.0 reads all its files as version 3"},
		"version 2, table of 3":     {files: map[string]string{main: "version = 2\n" + v3 + dir}, want: "is a table of containerd 2, which containerd 1.7 does not read"},
		"mirrors":                   {files: map[string]string{main: "version = 2\n" + v2 + "[plugins.'io.containerd.grpc.v1.cri'.registry.mirrors.'docker.io']\nendpoint = []\n"}, want: "has registry mirrors, which the CRI refuses beside config_path"},
		"import sets it":            {files: map[string]string{main: all + "version = 3\n", extra: v3 + dir}},
		"import overrides":          {files: map[string]string{main: all + "version = 3\n" + v3 + dir, extra: "version = 3\n" + v3 + other}, want: "extra.toml"},
		"later import overrides":    {files: map[string]string{main: all + "version = 3\n", extra: v3 + other, more: v3 + dir}},
		"imports of imports are last": {files: map[string]string{
			main: all + "version = 3\n", extra: "imports = ['/etc/containerd/deep/*']\n", more: v3 + dir, "/etc/containerd/deep/a.toml": v3 + other,
		}, want: "deep/a.toml"},
		"imports go round":         {files: map[string]string{main: all + "version = 3\n" + v3 + dir, extra: "imports = ['../config.toml']\n"}},
		"import of 1.x forgets":    {files: map[string]string{main: all + "version = 2\n" + v2 + dir, extra: "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"}, want: "extra.toml:2: [plugins.\"io.containerd.grpc.v1.cri\"] replaces the whole table of that plugin"},
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
			_, answerErr := decided(t, n, "mcr.microsoft.com")
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
				t.Error("there is an answer; want none if containerd reads another tree")
			}
			wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
		})
	}
}

// TestContainerdUnreadable checks that a configuration that containerd does not
// start with arms nothing: what it will be when it is repaired is not known.
func TestContainerdUnreadable(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins\n")
	var notArmed *NotArmedError
	if _, err := n.Apply(t.Context()); !errors.As(err, &notArmed) || !strings.Contains(err.Error(), "config.toml:2: ") || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("apply: %v; want a NotArmedError with the file and the line", err)
	}
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
}

// TestArmedAgain checks that routes come back with the configuration.
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
	if _, err := os.Stat(n.path(plan.RoutesDir)); err == nil {
		t.Error("the routes are there; want them gone")
	}
	write(t, config, string(data))
	wantLeft(t, apply(t, n), "")
	remove(t, n.path("/run/mirrorcred")) // it is empty now
	remove(t, n.path("/run"))
	sameTree(t, tree(t, n.Root, true), before)
}

// TestNotArmedWithABadMap checks that a map with a fault does not keep the
// routes of the one before if containerd no longer reads mirrorcred's tree,
// also when the manager was started anew meanwhile and knows of that map only
// what is on the disk.
func TestNotArmedWithABadMap(t *testing.T) {
	const (
		main      = "/etc/containerd/config.toml"
		elsewhere = "/opt/containerd/config.toml"
		none      = "version = 3\n"
	)
	movedMap := oneMap + "[containerd]\nconfig = \"" + elsewhere + "\"\n"
	tests := map[string]struct {
		good   string // the map before
		same   bool   // process
		before func(t *testing.T, n *Node)
		config string // that becomes one without a config_path
		kept   bool   // the routes
	}{
		"same process":             {good: oneMap, same: true, config: main},
		"new process":              {good: oneMap, config: main},
		"no sources":               {good: emptyMap, config: main},
		"containerd elsewhere":     {good: movedMap, config: elsewhere},
		"another configuration":    {good: movedMap, config: main, kept: true},
		"state lost":               {good: oneMap, config: main, before: loseState},
		"state torn":               {good: oneMap, config: main, before: tearState},
		"previous state":           {good: oneMap, config: main, before: ageState},
		"state lost and elsewhere": {good: movedMap, config: elsewhere, kept: true, before: func(t *testing.T, n *Node) { loseState(t, n); remove(t, n.path(main)) }},
		"no map":                   {good: oneMap, config: main, before: func(t *testing.T, n *Node) { remove(t, n.Map) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, test.good)
			data, err := os.ReadFile(n.path(main))
			if err != nil {
				t.Fatal(err)
			}
			write(t, n.path(elsewhere), string(data))
			apply(t, n)
			write(t, n.Map, "version = \n")
			if test.before != nil {
				test.before(t, n)
			}
			if !test.same {
				n = &Node{Root: n.Root, Map: n.Map, host: host}
			}
			before := tree(t, n.path(plan.RoutesDir), true)
			if _, err := n.Apply(t.Context()); err == nil {
				t.Error("apply succeeds; want a fault")
			}
			sameTree(t, tree(t, n.path(plan.RoutesDir), true), before)
			if want := n.path(test.config); !test.kept && !slices.Contains(n.Watched(), want) {
				t.Errorf("watched are %q; want %s among them", n.Watched(), want)
			}
			write(t, n.path(test.config), none)
			for look := range 2 {
				_, err = n.Apply(t.Context())
				// It is reported for as long as the reason is known.
				s, _ := n.readState()
				want := !test.kept && (look == 0 || s.Containerd.HostsDir != "")
				var notArmed *NotArmedError
				if errors.As(err, &notArmed) != want || !strings.Contains(err.Error(), "mirrors.toml") {
					t.Errorf("apply: %v; want the fault of the map, and a NotArmedError %t", err, want)
				}
			}
			if _, err := os.Stat(n.path(plan.RoutesDir)); test.kept != (err == nil) {
				t.Errorf("the routes: %v; want them to be kept %t", err, test.kept)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func loseState(t *testing.T, n *Node) { t.Helper(); remove(t, n.path(stateFile)) }
func tearState(t *testing.T, n *Node) { t.Helper(); write(t, n.path(stateFile), `{"containerd":{"ho`) }

// ageState makes the state one of a version that did not know of containerd.
func ageState(t *testing.T, n *Node) {
	t.Helper()
	s, err := n.readState()
	if err != nil {
		t.Fatal(err)
	}
	s.Containerd = mirror.Containerd{}
	data, err := s.Encode()
	if err != nil || strings.Contains(string(data), "containerd") {
		t.Fatalf("the state is %s, %v; want nothing of containerd in it", data, err)
	}
	write(t, n.path(stateFile), string(data))
}

// TestTreesOfRoutes checks that routes go if containerd does not read the
// tree that they name, such as after a kill on the way from one
// tree to another.
func TestTreesOfRoutes(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	s, err := n.readState()
	if err != nil {
		t.Fatal(err)
	}
	s.Containerd.HostsDir = "/etc/containerd/other"
	if err := n.writeState(s); err != nil {
		t.Fatal(err)
	}
	write(t, n.Map, "version = \n")
	config := n.path("/etc/containerd/config.toml")
	for dir, want := range map[string]bool{"/etc/containerd/certs.d": true, "/etc/containerd/other": false} {
		n = &Node{Root: n.Root, Map: n.Map, host: host}
		write(t, config, "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+dir+"'\n")
		var notArmed *NotArmedError
		if _, err := n.Plan(t.Context()); errors.As(err, &notArmed) == want {
			t.Errorf("with config_path = %q: %v; want the routes of certs.d to be armed %t", dir, err, want)
		}
	}
}
