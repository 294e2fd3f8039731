package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// queryTimeout is how long a running containerd may take to answer.
const queryTimeout = 5 * time.Second

// A running is a running containerd, and what it reports about itself.
type running struct {
	process    Process
	version    string
	configPath string // in effect, if reported
	reported   bool   // whether it reports its config_path
	sandbox    string // the pause image, if reported
	broken     string // why its image plugin did not load, "" if it did or does not report it
}

// query asks the containerd that listens on the map's socket; nil if none does.
// The process is the one that answers: it is identified by the connection that
// carries the questions.
func (o Observer) query(ctx context.Context) (*running, error) {
	socket := o.Wanted.Address
	d := dialer{socket: socket}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	first, err := d.dial(ctx, "")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil // left by one that ended, or missing
	}
	if err != nil {
		return nil, fmt.Errorf("ask containerd: %w", err)
	}
	first.Close()
	process, err := o.sys.process(int(d.pid.Load()))
	if unknown := (*unknownError)(nil); errors.As(err, &unknown) {
		unknown.Where = socket
		return nil, unknown
	}
	if err != nil {
		return nil, at(socket, err)
	}
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithContextDialer(d.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	defer conn.Close()
	r := &running{process: process}
	if err := r.query(ctx, conn); err != nil {
		return nil, noAnswer(socket, err)
	}
	// Another one may have answered, if it was restarted meanwhile.
	again, err := o.sys.process(int(d.pid.Load()))
	if err != nil || again.Process != process.Process {
		return nil, &fault.Fault{What: "containerd is being restarted", Where: socket, Found: "another process listens there than before", Fix: "run this again"}
	}
	return r, nil
}

// at returns an error of a socket with its path.
func at(socket string, err error) error {
	f := fault.Of(err)
	f.Where = socket
	return f
}

// noAnswer says what to do if the program that listens on the socket does not
// answer as containerd does.
func noAnswer(socket string, err error) error {
	switch s := status.Convert(err); s.Code() {
	case codes.Canceled:
		return fmt.Errorf("ask containerd on %s: %w", socket, err)
	case codes.DeadlineExceeded, codes.Unavailable:
		return &fault.Fault{
			What: "containerd cannot be asked", Where: socket, Found: "the program that listens there does not answer",
			Fix: "if it is containerd, see \"journalctl -u containerd\", restart it if it hangs, and run this again",
		}
	default:
		return &fault.Fault{
			What: "containerd cannot be asked", Where: socket, Found: "the program that listens there does not answer as containerd does: " + s.Message(),
			Fix: "if it is another program, name containerd's socket by address under [containerd] in the map",
		}
	}
}

// A dialer connects to a socket, and records which process listens there.
type dialer struct {
	socket string
	pid    atomic.Int64 // of the last listener
}

func (d *dialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", d.socket)
	if err != nil {
		return nil, err
	}
	cred, err := peer(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	d.pid.Store(int64(cred.Pid))
	return conn, nil
}

// query asks for the version and the config_path. 2.4 and later export it for
// their image plugin, 1.7 reports it in the verbose status of the CRI, and 2.0
// to 2.3 do neither.
func (r *running) query(ctx context.Context, conn *grpc.ClientConn) error {
	about, err := version.NewVersionClient(conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	r.version = about.Version
	if err := r.queryIntrospection(ctx, conn); err != nil || r.reported {
		return err
	}
	if majorOf(r.version) != "1" {
		return nil
	}
	return r.queryStatus(ctx, conn)
}

// queryIntrospection reads what the image plugin exports
// (containerd v2.4.2, plugins/cri/images/plugin.go), or why it did not load.
func (r *running) queryIntrospection(ctx context.Context, conn *grpc.ClientConn) error {
	plugins, err := introspection.NewIntrospectionClient(conn).Plugins(ctx, &introspection.PluginsRequest{
		Filters: []string{"type==io.containerd.cri.v1,id==images"},
	})
	if err != nil {
		return err
	}
	for _, p := range plugins.Plugins {
		if path, ok := p.Exports["RegistryConfigPath"]; ok {
			r.configPath, r.reported = path, true
			return nil
		}
		if p.InitErr != nil {
			r.broken = p.InitErr.Message
		}
	}
	return nil
}

// queryStatus reads the configuration in the verbose status
// (containerd v1.7.35, pkg/cri/server/status.go). The CRI answers shortly after
// containerd has started; without it the service does not exist.
func (r *running) queryStatus(ctx context.Context, conn *grpc.ClientConn) error {
	client := cri.NewRuntimeServiceClient(conn)
	for {
		answer, err := client.Status(ctx, &cri.StatusRequest{Verbose: true})
		switch {
		case status.Code(err) == codes.Unimplemented:
			return nil
		case err == nil:
			r.readStatus(answer.Info["config"])
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("its CRI plugin does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *running) readStatus(text string) {
	var config struct {
		Sandbox  string `json:"sandboxImage"`
		Registry *struct {
			ConfigPath string `json:"configPath"`
		} `json:"registry"`
	}
	if json.Unmarshal([]byte(text), &config) == nil && config.Registry != nil {
		r.configPath, r.reported = config.Registry.ConfigPath, true
		r.sandbox = config.Sandbox
	}
}
