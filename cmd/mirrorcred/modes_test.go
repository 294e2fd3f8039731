package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/courier"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/installer"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tokens"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// modeRow matches a row of the table of files: paths, what they hold, and the
// mode of the files and of their directory.
var modeRow = regexp.MustCompile("(?m)^\\| (`/.*`) \\|.*\\| (\\d{4})(?: in (\\d{4}))?[^|]*\\|$")

// TestModes holds the modes that docs/how-it-works.md gives to those of the files
// of a node, and to those that the units and tmpfiles.d give their directories.
func TestModes(t *testing.T) {
	data, err := os.ReadFile("../../docs/how-it-works.md")
	if err != nil {
		t.Fatal(err)
	}
	root := busyNode(t)
	rows := modeRow.FindAllStringSubmatch(string(data), -1)
	if len(rows) != 25 {
		t.Errorf("the table has %d rows", len(rows))
	}
	dirs := map[string]string{}
	for _, row := range rows {
		paths := rowPaths(row[1])
		for i := range paths {
			for _, file := range glob(t, root, paths[i]) {
				wantMode(t, file, row[2])
				if row[3] != "" {
					wantMode(t, filepath.Dir(file), row[3])
				}
			}
			if strings.HasPrefix(row[1], "`/run/mirrorcred/containerd.json`") {
				continue // they are of a machine that runs
			}
			if len(glob(t, root, paths[i])) == 0 {
				t.Errorf("there is no %s", paths[i])
			}
		}
		if row[3] != "" {
			dirs[filepath.Dir(strings.TrimSuffix(paths[0], "/")+"/x")] = row[3]
			dirs[filepath.Dir(paths[0])] = row[3]
		}
	}
	wantUnitModes(t, dirs["/var/log/mirrorcred"], dirs["/run/mirrorcred/tokens"], dirs["/var/lib/mirrorcred/routes"], dirs["/var/lib/mirrorcred/delivered"])
}

// busyNode returns a node on which there is each file that mirrorcred and the
// plugin write.
func busyNode(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{"etc/containerd/config.toml": "version = 3\n"}) // which bootstrap changes
	if err := newRoot(root); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{
		"etc/mirrorcred/mirrors.toml":           "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n",
		"etc/mirrorcred/delivered/mirrors.toml": "version = 1\n",
		"etc/mirrorcred/allowed.toml":           "version = 1\n",
		"etc/default/mirrorcred":                "MIRRORCRED_FLAGS=\n",
	})
	beTheCluster(t, root)
	write(t, root, map[string]string{"etc/containerd/certs.d/docker.io/hosts.toml": "# by hand\n"})
	if err := run(t.Context(), []string{"apply", "--adopt", "--root", root}, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run/mirrorcred", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	beThePrograms(t, root)
	return root
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// beThePrograms leaves on a node what the watcher, mirrorcred deliver and the plugin do.
func beThePrograms(t *testing.T, root string) {
	t.Helper()
	socket, err := watch.Listen(nil, filepath.Join(root, statusSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := armed.Stop(root, "a test"); err != nil {
		t.Fatal(err)
	}
	if err := audit.Append(filepath.Join(root, "var/log/mirrorcred/plugin.jsonl"), audit.Event{}); err != nil {
		t.Fatal(err)
	}
	value := handover.Value{Registry: "harbor.corp", Authorization: "Basic eDp5", Credential: "robot", From: time.Now()}
	if err := handover.New(filepath.Join(root, handover.Dir)).SetValue("key", value); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{node.DeliverWanted, plan.ReadyDir + "/key" + plan.ReadySuffix} {
		if err := (durable.Tree{Root: input.NewRoot(root)}).Replace(filepath.Join(root, file), nil); err != nil {
			t.Fatal(err)
		}
	}
	r := watch.Restarts{Kubelet: willingKubelet{}, Stamp: filepath.Join(root, restartStamp), Root: input.NewRoot(root), Log: slog.New(slog.DiscardHandler)}
	r.Consider(t.Context(), watch.Report{Plan: plan.Plan{NeedsRestart: true}})
	key := tokens.NewKey("contoso.azurecr.io", "identity")
	_, _, err = tokens.New(tokens.Options{Dir: filepath.Join(root, "run/mirrorcred/tokens")}).Get(t.Context(), []tokens.Key{key},
		func(context.Context) (credential.Credential, tokens.Key, error) {
			return credential.Credential{Username: "u", Password: "p", Expires: time.Now().Add(time.Hour)}, key, nil
		})
	if err != nil {
		t.Fatal(err)
	}
}

// A willingKubelet restarts at once.
type willingKubelet struct{}

func (willingKubelet) Ready(context.Context) error   { return nil }
func (willingKubelet) Restart(context.Context) error { return nil }
func (willingKubelet) Restore(context.Context) error { return nil }

// beTheCluster leaves on a node what bootstrap and the pod of the DaemonSet do.
func beTheCluster(t *testing.T, root string) {
	t.Helper()
	if err := run(t.Context(), []string{"bootstrap", "bake", "--root", root}, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	for _, name := range []string{"mirrorcred", "mirror-credential-provider"} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{systemd.InstallerDir, "etc/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i := installer.Installer{
		Programs: []string{programs}, Root: root, Allowed: filepath.Join(root, "etc/mirrorcred/allowed.toml"), Out: io.Discard,
		Connect: func(context.Context) (installer.Bus, error) { return deafBus{}, nil },
	}
	if err := i.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	delivered := filepath.Join(root, node.DeliveredDir)
	source := filepath.Join(delivered, "mirrors.toml")
	ctx, cancel := context.WithCancel(t.Context())
	c := courier.New(courier.Options{Map: source, Deliver: delivered, Log: slog.New(slog.DiscardHandler)})
	cancel() // it still takes the lock
	c.Run(ctx)
}

// A deafBus starts nothing.
type deafBus struct{}

func (deafBus) Reload(context.Context) error                         { return nil }
func (deafBus) Restart(context.Context, string) error                { return nil }
func (deafBus) State(context.Context, string) (systemd.State, error) { return systemd.State{}, nil }
func (deafBus) Close()                                               {}

// glob returns the files of a path in the table: in a directory all of them.
func glob(t *testing.T, root, path string) []string {
	t.Helper()
	if strings.HasSuffix(path, "/") {
		path += "*"
	}
	names, err := filepath.Glob(filepath.Join(root, strings.ReplaceAll(path, "NAMESPACE", "*")))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantMode(t *testing.T, path, want string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != want {
		t.Errorf("%s has the mode %s; the document says %s", path, got, want)
	}
}

// wantUnitModes checks what the units and tmpfiles.d make of the directories.
func wantUnitModes(t *testing.T, logs, tokens, state, delivered string) {
	t.Helper()
	units, err := systemd.Units("")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		var lines []string
		own := state
		if u.Name == systemd.DeliverUnit {
			own = delivered
		}
		for key, mode := range map[string]string{"LogsDirectory": logs, "RuntimeDirectory": tokens, "StateDirectory": own} {
			if strings.Contains(string(u.Data), "\n"+key+"=") || u.Name == systemd.WatchUnit {
				lines = append(lines, key+"Mode="+mode)
			}
		}
		if strings.HasPrefix(u.Path, "/etc/tmpfiles.d/") {
			lines = []string{"d /run/mirrorcred/tokens  " + tokens + " root root -", "d /var/log/mirrorcred     " + logs + " root root -"}
		}
		for _, line := range lines {
			if !strings.Contains(string(u.Data), "\n"+line+"\n") {
				t.Errorf("%s has no line %q", u.Name, line)
			}
		}
	}
}
