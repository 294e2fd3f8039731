//go:build linux

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestArmed checks what the plugin looks at before it answers: the marker that
// stops it, and what the node is armed by.
func TestArmed(t *testing.T) {
	const config = "/etc/containerd/config.toml"
	record := func(files ...armed.File) armed.Record {
		return armed.Record{HostsDir: mirror.DefaultHostsDir, Alone: true, Files: files}
	}
	marker := func(put func(path string) error) func(t *testing.T, n tree) {
		return func(t *testing.T, n tree) {
			path := filepath.Join(n.root, armed.Marker)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := armed.NewContent(config, []byte("one"))
	file.Path = config
	for name, test := range map[string]struct {
		record *armed.Record // nil: the usual one
		before func(t *testing.T, n tree)
		want   string // in the error; "" if there is an answer
	}{
		"armed": {},
		"stopped": {before: func(t *testing.T, n tree) {
			if err := armed.Stop(n.root, "config_path is another"); err != nil {
				t.Fatal(err)
			}
		}, want: "config_path is another"},
		"stopped by an empty marker": {before: marker(func(p string) error { return os.WriteFile(p, nil, 0o600) }), want: "armed.Marker"},
		"by a FIFO":                  {before: marker(func(p string) error { return syscall.Mkfifo(p, 0o600) }), want: "armed.Marker"},
		"by a directory":             {before: marker(func(p string) error { return os.Mkdir(p, 0o700) }), want: "armed.Marker"},
		"by a dangling link":         {before: marker(func(p string) error { return os.Symlink("nowhere", p) }), want: "armed.Marker"},
		"the marker cannot be looked at": {before: func(t *testing.T, n tree) {
			writeFile(t, n.root, filepath.Dir(armed.Marker), "")
		}, want: "not a directory"},
		"no record": {before: func(t *testing.T, n tree) {
			if err := os.Remove(filepath.Join(n.root, routesDir, "..", armed.FileName)); err != nil {
				t.Fatal(err)
			}
		}, want: "does not exist, so it is not known whether containerd reads the mirrors"},
		"a torn record": {before: func(t *testing.T, n tree) {
			if err := os.Truncate(filepath.Join(n.root, routesDir, "..", armed.FileName), 40); err != nil {
				t.Fatal(err)
			}
		}, want: "cut short"},
		"armed for another tree":  {record: &armed.Record{HostsDir: "/etc/docker/certs.d", Alone: true}, want: "containerd reads /etc/docker/certs.d"},
		"not by its files alone":  {record: &armed.Record{HostsDir: mirror.DefaultHostsDir}, want: "its files alone do not say"},
		"by a process that ended": {record: &armed.Record{HostsDir: mirror.DefaultHostsDir, Process: armed.Process{Boot: "x", PID: 7}}, want: "restarted (it was process 7)"},
		"its files are as before": {record: ptr(record(file)), before: func(t *testing.T, n tree) { writeFile(t, n.root, config, "one") }},
		"one has changed":         {record: ptr(record(file)), before: func(t *testing.T, n tree) { writeFile(t, n.root, config, "two") }, want: "config.toml has changed since"},
		"one is gone":             {record: ptr(record(file)), want: "config.toml"},
		"a drop-in has come": {
			record: ptr(record(armed.NewMatches("/etc/containerd/conf.d/*.toml", nil))),
			before: func(t *testing.T, n tree) { writeFile(t, n.root, "/etc/containerd/conf.d/a.toml", "") },
			want:   "/etc/containerd/conf.d/*.toml has changed since",
		},
		"a file has come": {
			record: ptr(record(armed.File{Path: config, Kind: armed.Absent})),
			before: func(t *testing.T, n tree) { writeFile(t, n.root, config, "") },
			want:   "config.toml now exists since",
		},
		"of a later version": {record: ptr(record(armed.File{Path: config, Kind: "hologram"})), want: "another version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, _ := startCloud(t, "foo.azurecr.io")
			n := plant(t, toFoo)
			if test.record != nil {
				n.arm(t, *test.record)
			}
			if test.before != nil {
				test.before(t, n)
			}
			want := strings.ReplaceAll(test.want, "armed.Marker", armed.Marker)
			got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root)
			switch {
			case want == "" && (got.code != 0 || got.answer() != mcrAnswer):
				t.Errorf("it exits %d with %s%s; want the answer", got.code, got.answer(), got.stderr)
			case want != "" && (got.code != 1 || !strings.Contains(got.stderr, want) || strings.Contains(got.stdout, "password")):
				t.Errorf("it exits %d with %s%s; want %q and no answer", got.code, got.answer(), got.stderr, want)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }
