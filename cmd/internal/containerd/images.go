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

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Images are the images of a running containerd, as the kubelet sees them. Close
// them.
type Images struct {
	socket string
	conn   *grpc.ClientConn
	images cri.ImageServiceClient
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
func OpenImages(socket string) (*Images, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
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
	soon := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: time.Second}
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon}))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return &Images{socket, conn, cri.NewImageServiceClient(conn)}, nil
}

// Close ends the connection.
func (i *Images) Close() error { return i.conn.Close() }

// A PullError is why containerd did not pull an image.
type PullError struct {
	Code codes.Code
	Text string // may repeat what a registry wrote, but not the credential
}

// Error returns what containerd answered, without the credential.
func (e *PullError) Error() string { return e.Text }

// Pull makes containerd pull an image with a credential; the zero Credential means
// without one. The error is a *[PullError].
func (i *Images) Pull(ctx context.Context, image string, c credential.Credential) error {
	request := &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}}
	if !c.Anonymous() {
		request.Auth = &cri.AuthConfig{Username: c.Username, Password: c.Password.Reveal()}
	}
	_, err := i.images.PullImage(ctx, request)
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	text := s.Message()
	// Shorter ones would take words and numbers out that are not secrets.
	if secret := c.Password.Reveal(); len(secret) >= 4 {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	return &PullError{s.Code(), text}
}

// Find returns an image, and false if containerd does not have it.
func (i *Images) Find(ctx context.Context, image string) (Image, bool, error) {
	answer, err := i.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil || answer.Image == nil {
		return Image{}, false, err
	}
	found := Image{ID: answer.Image.Id, Size: answer.Image.Size, Pinned: answer.Image.Pinned}
	for _, name := range answer.Image.RepoDigests {
		if _, digest, ok := strings.Cut(name, "@"); ok {
			found.Digest = digest
			break
		}
	}
	return found, true, nil
}

// Ingests returns what containerd is downloading now for the kubelet's images. The
// CRI does not report progress, so its content store is asked.
func (i *Images) Ingests(ctx context.Context) ([]Ingest, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io")
	answer, err := contentapi.NewContentClient(i.conn).ListStatuses(ctx, &contentapi.ListStatusesRequest{})
	if err != nil {
		return nil, err
	}
	var list []Ingest
	for _, s := range answer.Statuses {
		list = append(list, Ingest{Ref: s.Ref, Started: s.StartedAt.AsTime(), Offset: s.Offset, Total: s.Total})
	}
	return list, nil
}

// Ready waits until the CRI answers, which may be a while after the node has
// started.
func (i *Images) Ready(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, queryTimeout)
		_, err := i.images.ListImages(try, &cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Image: "mirrorcred.invalid/ready"}}})
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
