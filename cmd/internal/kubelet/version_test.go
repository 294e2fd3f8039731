package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
)

func TestVersionOf(t *testing.T) {
	flags := func(value string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "-ldflags", Value: value}}}
	}
	dep := func(m debug.Module) *debug.BuildInfo { return &debug.BuildInfo{Deps: []*debug.Module{&m}} }
	for name, tt := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"kubelet":                 {flags(`-s -w -X 'k8s.io/component-base/version.gitVersion=v1.34.2' -X 'k8s.io/component-base/version.gitMajor=1'`), "1.34.2"},
		"without quotes":          {flags(`-X k8s.io/component-base/version.gitVersion=v1.33.0-rc.1+abc -w`), "1.33.0"},
		"with =":                  {flags(`-X=k8s.io/component-base/version.gitVersion=v1.33.4`), "1.33.4"},
		"client-go's":             {flags(`-X k8s.io/client-go/pkg/version.gitVersion=v1.35.1+k3s1`), "1.35.1"},
		"the last counts":         {flags(`-X k8s.io/component-base/version.gitVersion=v1.1.1 -X k8s.io/component-base/version.gitVersion=v1.36.0`), "1.36.0"},
		"another variable":        {flags(`-X example.com/version.gitVersion=v1.34.2`), ""},
		"a dependency":            {dep(debug.Module{Path: "k8s.io/kubernetes", Version: "v1.36.3"}), "1.36.3"},
		"k3s":                     {dep(debug.Module{Path: "k8s.io/kubernetes", Version: "v1.35.0", Replace: &debug.Module{Path: "github.com/k3s-io/kubernetes", Version: "v1.35.1-k3s1"}}), "1.35.1"},
		"replaced by a directory": {dep(debug.Module{Path: "k8s.io/kubernetes", Version: "v1.35.0", Replace: &debug.Module{Path: "../kubernetes"}}), "1.35.0"},
		"no release":              {dep(debug.Module{Path: "k8s.io/kubernetes", Version: "v0.0.0-20260101000000-abcdefabcdef"}), ""},
		"nothing":                 {&debug.BuildInfo{}, ""},
	} {
		if got := versionOf(tt.info); got != tt.want {
			t.Errorf("%s: versionOf = %q; want %q", name, got, tt.want)
		}
	}
}

// program writes a script that prints a version, and leaves a mark if it runs.
func program(t *testing.T, path, prints string) (mark string) {
	t.Helper()
	mark = filepath.Join(t.TempDir(), "ran")
	text := fmt.Sprintf("#!/bin/sh\n/bin/env > %s\n[ \"$*\" = --version ] && echo '%s'\n", mark, prints)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return mark
}

// ownedDir returns a directory that, with all above it, is root's alone to
// write; /tmp is not.
func ownedDir(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("takes root")
	}
	dir, err := os.MkdirTemp("/var/lib", "mirrorcred-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func kubeletOf(args ...string) Kubelet {
	return Kubelet{Process: process.Process{PID: 7, Args: args, Unit: "kubelet.service"}}
}

// TestVersionAsked checks what is run to learn a version, and from where its
// path is taken.
func TestVersionAsked(t *testing.T) {
	dir := ownedDir(t)
	noProc := prober{filepath.Join(dir, "no-proc"), dir}
	for name, tt := range map[string]struct{ prints, want, fault string }{
		"kubelet":     {"Kubernetes v1.34.2", "1.34.2", ""},
		"k3s":         {"k3s version v1.35.1+k3s1 (abcdef12)\ngo version go1.25.5", "1.35.1", ""},
		"development": {"Kubernetes v0.0.0-master+$Format:%H$", "", "prints no version of Kubernetes"},
		"silent":      {"", "", "prints no version of Kubernetes"},
	} {
		path := filepath.Join(dir, name)
		t.Setenv("SECRET", "not for it")
		mark := program(t, path, tt.prints)
		for _, args := range [][]string{{path, "--root-dir=/x"}, {path + " server"}} {
			got, err := noProc.version(kubeletOf(args...))
			if got != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("version of %q = %q, %v; want %q, %q", args, got, err, tt.want, tt.fault)
			}
		}
		if env, err := os.ReadFile(mark); err != nil || strings.Contains(string(env), "SECRET") {
			t.Errorf("%s ran with the environment %q, %v; want an empty one", name, env, err)
		}
	}
}

// TestVersionProgram checks which file is taken for the program.
func TestVersionProgram(t *testing.T) {
	dir := ownedDir(t)
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, v := range map[string]string{"exe": "1.31.1", "argument": "1.32.2", "unit": "1.33.3", "dropin": "1.34.4"} {
		program(t, at(name), "Kubernetes v"+v)
	}
	link := func(name, to string) prober {
		t.Helper()
		proc := at(name)
		if err := os.MkdirAll(filepath.Join(proc, "7"), 0o755); err != nil {
			t.Fatal(err)
		}
		if to != "" {
			if err := os.Symlink(to, filepath.Join(proc, "7", "exe")); err != nil {
				t.Fatal(err)
			}
		}
		return prober{proc, at(name + "-root")}
	}
	seen, hidden, updated, dropped := link("seen", at("exe")), link("hidden", ""), link("updated", at("exe")+" (deleted)"), link("dropped", "")
	const unit = "/usr/lib/systemd/system/kubelet.service"
	write(hidden.root+unit, "[Unit]\nExecStart=/no\n[Service]\nExecStart=-"+at("unit")+" \\\n  --config=/x\n")
	write(dropped.root+unit, "[Service]\nExecStart=/gone\n")
	write(dropped.root+"/etc/systemd/system/kubelet.service.d/10-x.conf", "[Service]\nExecStart=\nExecStart="+at("dropin")+" $ARGS\n")
	write(dropped.root+"/usr/lib/systemd/system/kubelet.service.d/10-x.conf", "[Service]\nExecStart=/weaker\n")
	if err := os.Symlink(at("argument"), at("link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		p    prober
		args []string
		want string
	}{
		{"the kernel's word before the process's own", seen, []string{at("argument")}, "1.31.1"},
		{"updated since", updated, []string{at("argument")}, "1.31.1"},
		{"the first argument", hidden, []string{at("argument")}, "1.32.2"},
		{"a link", hidden, []string{at("link")}, "1.32.2"},
		{"no path: the unit's", hidden, []string{"kubelet"}, "1.33.3"},
		{"no path: the drop-in's", dropped, []string{"kubelet"}, "1.34.4"},
		{"nothing", seen, nil, "1.31.1"},
	} {
		got, err := tt.p.version(kubeletOf(tt.args...))
		if err != nil || got != tt.want {
			t.Errorf("%s: version = %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	nameless := kubeletOf("kubelet")
	nameless.Unit = ""
	for _, k := range []Kubelet{nameless, kubeletOf(at("gone")), {Process: process.Process{PID: 7, Args: []string{"kubelet"}, Unit: "../x.service"}}} {
		if v, err := hidden.version(k); err == nil || !strings.Contains(err.Error(), "process 7") {
			t.Errorf("version of %q = %q, %v; want an error that names the process", k.Args, v, err)
		}
	}
}

// TestVersionOwned checks that no program is run that another user could have
// written.
func TestVersionOwned(t *testing.T) {
	for name, spoil := range map[string]func(dir, path string) error{
		"":                                  func(string, string) error { return nil },
		"is not root's; chown root":         func(_, path string) error { return os.Chown(path, nobody, 0) },
		"can be written by others":          func(_, path string) error { return os.Chmod(path, 0o757) },
		"chmod go-w":                        func(_, path string) error { return os.Chmod(path, 0o775) },
		"bin can be written by others":      func(_, path string) error { return os.Chmod(filepath.Dir(path), 0o1777) },
		"bin is not root's":                 func(_, path string) error { return os.Chown(filepath.Dir(path), nobody, nobody) },
		"(mode 0777)":                       func(dir, _ string) error { return os.Chmod(dir, 0o777) },
		"the program does not matter: link": nil,
	} {
		dir := ownedDir(t)
		path := filepath.Join(dir, "bin", "kubelet")
		mark := program(t, path, "Kubernetes v1.34.2")
		asked := path
		if spoil == nil { // a link of root's into a directory of another user's
			tmp := t.TempDir()
			target := filepath.Join(tmp, "evil")
			mark = program(t, target, "Kubernetes v1.34.2")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(tmp, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			name = "can be written by others"
		} else if err := spoil(dir, path); err != nil {
			t.Fatal(err)
		}
		got, err := prober{dir, dir}.version(kubeletOf(asked))
		_, ran := os.Stat(mark)
		if (err == nil) != (name == "") || err != nil && (!strings.Contains(err.Error(), name) || ran == nil || got != "") {
			t.Errorf("%q: version = %q, %v; ran %v", name, got, err, ran == nil)
		}
	}
}

// TestVersionHangs checks that a program which does not end is ended, with what
// it has started.
func TestVersionHangs(t *testing.T) {
	path := filepath.Join(ownedDir(t), "kubelet")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nwhile :; do echo v; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := askVersion(path, 200*time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("askVersion = %v; want the end of its time", err)
	}
}
