package containerd

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// A Sandbox is the image of the pause container, which containerd starts each pod
// with and pulls itself, without a credential.
type Sandbox struct {
	Image   string // as it is configured
	Where   string // what sets it, with the line; "" for the built-in default
	Version containerdconfig.Version
}

// ByName reports whether this containerd pins the image only if the configured
// text is its full name: 2.x compares the texts (internal/cri/server/images/
// image_pull.go, getLabels, v2.4.2), and 1.7 the references.
func (s Sandbox) ByName() bool { return !s.Version.Before(2, 0, 0) }

// Pins reports whether this containerd pins the image at all: 1.7.10 and later do.
func (s Sandbox) Pins() bool { return !s.Version.Before(1, 7, 10) }

// Sandbox asks the containerd that runs for its pause image. 1.7 reports it in the
// CRI's status. 2.x does not: there its configuration files are read by the rules
// of its version. They may have changed since it started, so whether the image is
// pinned after a pull is the proof.
func (o Observer) Sandbox(ctx context.Context) (Sandbox, error) {
	if o.sys == nil {
		o.sys = thisMachine()
	}
	o.files = newFiles(o.path, o.tree().Root)
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	d := dialer{socket: o.path(o.Wanted.Address)}
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithContextDialer(d.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return Sandbox{}, fmt.Errorf("%s: %w", d.socket, err)
	}
	defer conn.Close()
	about, err := version.NewVersionClient(conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		return Sandbox{}, noAnswer(d.socket, err)
	}
	v, err := containerdconfig.ParseVersion(about.Version)
	if err != nil {
		return Sandbox{}, fmt.Errorf("containerd on %s: %w", d.socket, err)
	}
	r := &running{version: about.Version}
	if majorOf(about.Version) == "1" {
		if err := r.queryStatus(ctx, conn); err != nil {
			return Sandbox{}, noAnswer(d.socket, err)
		}
	}
	main := o.Wanted.Config
	if p, err := o.sys.process(int(d.pid.Load())); err == nil && o.Root == "" {
		if file, err := o.mainFile(p); err == nil {
			main = file
		}
	}
	c, err := containerdconfig.Effective(o.files, main, v)
	switch {
	case r.sandbox != "" && (err != nil || c.Sandbox != r.sandbox):
		return Sandbox{r.sandbox, "", v}, nil // the files have changed since it started
	case err != nil:
		return Sandbox{}, o.rooted(err)
	}
	where := c.SandboxSet.File
	if where != "" {
		where = fmt.Sprintf("%s:%d", o.path(where), c.SandboxSet.Line)
	}
	if c.Sandbox == "" {
		return Sandbox{}, fmt.Errorf("%s: the pause image is empty, so no pod can start; name one there, or remove the line", where)
	}
	return Sandbox{c.Sandbox, where, v}, nil
}
