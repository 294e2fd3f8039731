package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// A containerd tells the config_path that it was started with, as 2.4 does.
type containerd struct {
	version.UnimplementedVersionServer
	introspection.UnimplementedIntrospectionServer
	configPath string
}

func (containerd) Version(context.Context, *emptypb.Empty) (*version.VersionResponse, error) {
	return &version.VersionResponse{Version: "v2.4.2"}, nil
}

func (c containerd) Plugins(context.Context, *introspection.PluginsRequest) (*introspection.PluginsResponse, error) {
	return &introspection.PluginsResponse{Plugins: []*introspection.Plugin{
		{Type: "io.containerd.cri.v1", ID: "images", Exports: map[string]string{"RegistryConfigPath": c.configPath}},
	}}, nil
}

// startContainerd starts a containerd on a socket; the function that it returns
// stops it.
func startContainerd(t *testing.T, socket, configPath string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	version.RegisterVersionServer(server, containerd{})
	introspection.RegisterIntrospectionServer(server, containerd{configPath: configPath})
	ended := make(chan error)
	go func() { ended <- server.Serve(listener) }()
	return func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestContainerdRestarts runs a watcher beside a containerd that is restarted
// with another config_path, and then with the first one, while none of its
// files changes: only its socket tells.
func TestContainerdRestarts(t *testing.T) {
	const tree, other = "/etc/containerd/certs.d", "/etc/docker/certs.d"
	for name, bad := range map[string]bool{"good map": false, "bad map": true} {
		t.Run(name, func(t *testing.T) {
			root, err := os.MkdirTemp("", "mc") // the path of a socket is short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(root) })
			path := func(name string) string { return filepath.Join(root, name) }
			write := func(name, text string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path(name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path(name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			socket := path("containerd.sock")
			good := fmt.Sprintf("version = 1\n[containerd]\naddress = %q\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"contoso.azurecr.io\"]\n", socket)
			write("etc/mirrorcred/mirrors.toml", good)
			write("etc/containerd/config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+tree+"'\n")
			write("var/lib/kubelet/credential-provider/"+plan.PluginName, "#!/bin/sh\n")
			stop := startContainerd(t, socket, tree)
			if _, err := node.NewHere(root).Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if bad {
				write("etc/mirrorcred/mirrors.toml", "version = \n")
			}

			n := node.NewHere(root) // of a process that has not seen the good map but the bad one
			events := watch.NewEvents(slog.New(slog.DiscardHandler))
			defer events.Close()
			reports := make(chan watch.Report)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				watch.New(n, events.Hints(), watch.Options{Tick: 24 * time.Hour, Log: slog.New(slog.DiscardHandler), Done: func(r watch.Report) {
					events.Watch(n.Watched())
					select {
					case reports <- r:
					case <-ctx.Done():
					}
				}}).Run(ctx)
			}()
			defer func() { cancel(); <-ended }()

			// settled waits for the looks to end that are due already.
			settled := func() {
				for {
					select {
					case <-reports:
					case <-time.After(200 * time.Millisecond):
						return
					}
				}
			}
			// until waits for a look after which the routes are there or not.
			until := func(what string, there bool) {
				t.Helper()
				defer settled()
				deadline := time.After(20 * time.Second)
				for {
					select {
					case r := <-reports:
						_, err := os.Stat(path("var/lib/mirrorcred/routes/mcr.microsoft.com.json"))
						var unarmed *node.NotArmedError
						if (err == nil) == there && errors.As(r.Err, &unarmed) == !there {
							return
						}
						if err != nil && !errors.Is(err, fs.ErrNotExist) {
							t.Fatal(err)
						}
					case <-deadline:
						t.Fatalf("%s: the routes are not there %t within 20 s", what, there)
					}
				}
			}
			until("started", true)
			stop()
			stop = startContainerd(t, socket, other)
			until("restarted with another config_path", false)
			stop()
			stop = startContainerd(t, socket, tree)
			defer func() { stop() }()
			if bad {
				write("etc/mirrorcred/mirrors.toml", good)
			}
			until("restarted with the first one", true)
		})
	}
}
