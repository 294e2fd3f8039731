package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/rpc"
	"github.com/mirrorcred/mirrorcred/credential"
)

// Images are the images of a running containerd, as the kubelet sees them. Close
// them.
type Images struct {
	socket string
	conn   *rpc.Conn
}

// An Image is one that a containerd has.
type Image struct {
	ID     string // digest of its configuration
	Digest string // of its manifest, "" if containerd does not tell
	Size   uint64 // in bytes
	// Pinned says that the kubelet does not remove it to free space.
	Pinned bool
}

// An Ingest is something that containerd is downloading.
type Ingest struct {
	Ref           string // such as "layer-sha256:…"
	Started       time.Time
	Offset, Total int64 // in bytes
}

// OpenImages returns the images of the containerd that listens on a socket. It
// connects when it is first asked. A pull hands it a credential, so nothing is
// sent unless root listens there, or the user that runs this program.
func OpenImages(socket string) *Images {
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		cred, err := peer(conn)
		if err == nil && cred.Uid != 0 && int(cred.Uid) != os.Getuid() {
			err = fmt.Errorf("process %d of user %d listens on %s, and it would see the credential; name containerd's own socket as address under [containerd] in the map", cred.Pid, cred.Uid, socket)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
	return &Images{socket, rpc.New(dial)}
}

// Close ends the connection.
func (i *Images) Close() error { return i.conn.Close() }

// A PullError is why containerd did not pull an image.
type PullError struct {
	Code codes.Code
	Text string // may repeat what a registry wrote, but not the credential
}

func (e *PullError) Error() string { return e.Text }

// Pull makes containerd pull an image with a credential; the zero Credential means
// without one. The error is a *[PullError].
func (i *Images) Pull(ctx context.Context, image string, c credential.Credential) error {
	request := spec(image)
	if !c.Anonymous() {
		request = append(request, rpc.Message(2, rpc.Text(1, c.Username), rpc.Text(2, c.Password.Reveal()))...)
	}
	_, err := i.conn.Call(ctx, imageService+"PullImage", request)
	if err == nil {
		return nil
	}
	fault := faultOf(err)
	text := fault.Message
	// Shorter ones would take words and numbers out that are no secret.
	if secret := c.Password.Reveal(); len(secret) >= 4 {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	return &PullError{fault.Code, text}
}

// Find returns an image, and false if containerd does not have it.
func (i *Images) Find(ctx context.Context, image string) (Image, bool, error) {
	return find(ctx, i.conn, image)
}

// Ingests returns what containerd is downloading now for the kubelet's images. The
// CRI does not report progress, so its content store is asked.
func (i *Images) Ingests(ctx context.Context) ([]Ingest, error) {
	answer, err := i.conn.Call(ctx, "containerd.services.content.v1.Content/ListStatuses", nil, rpc.Field{Name: "containerd-namespace", Value: "k8s.io"})
	if err != nil {
		return nil, err
	}
	return readIngests(answer)
}

// Ready waits until the CRI answers, which may be a while after the node has
// started.
func (i *Images) Ready(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, askTime)
		_, err := i.conn.Call(try, imageService+"ListImages", rpc.Message(1, spec("mirrorcred.invalid/ready")))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if _, err := os.Stat(i.socket); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: there is no such socket, so containerd does not run; start it, or name its socket as address under [containerd] in the map", i.socket)
			}
			return noAnswer(i.socket, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
