package watch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// TestPolling runs a watcher of a whole node on a system without file events:
// the tick alone applies the map and repairs drift.
func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{T: t, dir: t.TempDir()}
		const plugin = "var/lib/kubelet/credential-provider/mirror-credential-provider"
		p.mkdir("etc/containerd")
		p.mkdir("etc/mirrorcred")
		p.mkdir(filepath.Dir(plugin))
		p.write("etc/containerd/config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
		p.write(plugin, "#!/bin/sh\n")
		p.must(os.Chmod(p.path(plugin), 0o755))
		const hosts = "etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"
		mapOf := func(target string) {
			p.write("etc/mirrorcred/mirrors.toml", "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\""+target+"\"]\n")
		}

		n := node.New(p.dir, "", false)
		store := NewStatusStore("1", n.Map)
		events := NewEvents(slog.New(slog.DiscardHandler))
		events.start = func() (*fsnotify.Watcher, error) { return nil, unix.EMFILE }
		defer events.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(n, events.Hints(), Options{Log: events.log, Done: func(r Report) {
				store.Record(r)
				store.SetFileWatching(events.Watch(n.Watched()))
			}}).Run(ctx)
		}()
		defer func() { cancel(); <-done }()

		// tick lets one tick pass and fails unless the source has that target.
		tick := func(target string) {
			t.Helper()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			data, err := os.ReadFile(p.path(hosts))
			if s := store.Status(); err != nil || !strings.Contains(string(data), target) || !s.InSync || !strings.Contains(s.Degraded, "raise fs.inotify") {
				t.Errorf("hosts.toml is %q, %v, and the status %+v; want one of %s, in sync and degraded", data, err, s, target)
			}
		}
		synctest.Wait()
		mapOf("contoso.azurecr.io")
		tick("contoso.azurecr.io")
		mapOf("fabrikam.azurecr.io")
		tick("fabrikam.azurecr.io")
		p.remove(hosts)
		tick("fabrikam.azurecr.io")
	})
}
