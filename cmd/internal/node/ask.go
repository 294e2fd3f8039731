package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// askTime is how long a running containerd may take to answer.
const askTime = 5 * time.Second

// A running is what a running containerd says of itself.
type running struct {
	configPath string // in effect
	known      bool   // whether it says its configPath
	version    string // "" where none runs
}

// askContainerd asks the containerd that listens on a socket. It may not say
// its config_path: 2.4 exports it for its image plugin, 1.7 tells it in the
// verbose status of the CRI, 2.0 to 2.3 do neither.
func askContainerd(socket string) (running, error) {
	if _, err := os.Stat(socket); errors.Is(err, fs.ErrNotExist) {
		return running{}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return running{}, fmt.Errorf("%s: %w", socket, err)
	}
	defer conn.Close()
	about, err := version.NewVersionClient(conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		return running{}, notRunning(socket, err)
	}
	r := running{version: about.Version}
	if r.configPath, r.known, err = askIntrospection(ctx, conn); err != nil {
		return r, notRunning(socket, err)
	}
	if !r.known {
		r.configPath, r.known = askStatus(ctx, conn)
	}
	return r, nil
}

// notRunning drops the error of a socket that nobody listens on any more, and
// of one that we may not open.
func notRunning(socket string, err error) error {
	if err == nil {
		return nil
	}
	conn, dialErr := net.Dial("unix", socket)
	if dialErr != nil {
		return nil
	}
	conn.Close()
	return fmt.Errorf("ask containerd on %s: %w", socket, err)
}

// askIntrospection reads what the image plugin exports
// (containerd v2.4.2, plugins/cri/images/plugin.go).
func askIntrospection(ctx context.Context, conn *grpc.ClientConn) (string, bool, error) {
	plugins, err := introspection.NewIntrospectionClient(conn).Plugins(ctx, &introspection.PluginsRequest{
		Filters: []string{"type==io.containerd.cri.v1,id==images"},
	})
	if err != nil {
		return "", false, err
	}
	for _, p := range plugins.Plugins {
		if path, ok := p.Exports["RegistryConfigPath"]; ok {
			return path, true, nil
		}
	}
	return "", false, nil
}

// askStatus reads the configuration in the verbose status
// (containerd v1.7.35, pkg/cri/server/status.go). A containerd without the CRI
// does not say.
func askStatus(ctx context.Context, conn *grpc.ClientConn) (string, bool) {
	status, err := cri.NewRuntimeServiceClient(conn).Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return "", false
	}
	var config struct {
		Registry *struct {
			ConfigPath string `json:"configPath"`
		} `json:"registry"`
	}
	if json.Unmarshal([]byte(status.Info["config"]), &config) != nil || config.Registry == nil {
		return "", false
	}
	return config.Registry.ConfigPath, true
}
