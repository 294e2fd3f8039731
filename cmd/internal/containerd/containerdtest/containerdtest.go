// Package containerdtest is a stand-in for a running containerd: a process of
// its own that listens on a socket and reports about itself what a version of
// containerd reports. It pulls nothing. TestMain must call [Main] first;
// [Command] starts the test program again as a containerd. A [Store] is another one,
// in the process of the test, that pretends to pull.
package containerdtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// NoCRI is told by a containerd whose CRI plugin is not loaded.
const NoCRI = "none"

const (
	socketVariable  = "CONTAINERDTEST_SOCKET"
	versionVariable = "CONTAINERDTEST_VERSION"
	tellsVariable   = "CONTAINERDTEST_TELLS"
)

// Command returns this program as a containerd of a version on a socket, with the
// arguments of its command line. tells is its config_path, if that is a version
// that tells it.
func Command(socket, version, tells string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"/usr/local/bin/containerd"}, args...)
	cmd.Env = append(os.Environ(), socketVariable+"="+socket, versionVariable+"="+version, tellsVariable+"="+tells)
	cmd.Stderr = os.Stderr
	return cmd
}

// Main makes this process a containerd if [Command] started it, and returns
// otherwise.
func Main() {
	socket := os.Getenv(socketVariable)
	if socket == "" {
		return
	}
	fmt.Fprintln(os.Stderr, serve(socket, server{is: os.Getenv(versionVariable), tells: os.Getenv(tellsVariable)}))
	os.Exit(1)
}

func serve(socket string, s server) error {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	g := grpc.NewServer()
	version.RegisterVersionServer(g, s)
	introspection.RegisterIntrospectionServer(g, s)
	if s.tells != NoCRI {
		cri.RegisterRuntimeServiceServer(g, criServer{server: s})
	}
	return g.Serve(listener)
}

type server struct {
	version.UnimplementedVersionServer
	introspection.UnimplementedIntrospectionServer
	is, tells, sandbox string
}

func (s server) Version(context.Context, *emptypb.Empty) (*version.VersionResponse, error) {
	return &version.VersionResponse{Version: s.is}, nil
}

func (s server) Plugins(context.Context, *introspection.PluginsRequest) (*introspection.PluginsResponse, error) {
	p := &introspection.Plugin{Type: "io.containerd.cri.v1", ID: "images"}
	if strings.HasPrefix(s.is, "v2.4") && s.tells != NoCRI {
		p.Exports = map[string]string{"RegistryConfigPath": s.tells}
	}
	return &introspection.PluginsResponse{Plugins: []*introspection.Plugin{p}}, nil
}

type criServer struct {
	cri.UnimplementedRuntimeServiceServer
	server
}

func (s criServer) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeVersion: s.is}, nil
}

func (s criServer) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	config := `{"containerd": {}}` // of 2.0 to 2.3
	if strings.HasPrefix(s.is, "1.7") {
		config = fmt.Sprintf(`{"registry": {"configPath": %q}, "sandboxImage": %q}`, s.tells, s.sandbox)
	}
	return &cri.StatusResponse{Info: map[string]string{"config": config}}, nil
}
