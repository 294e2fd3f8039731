package containerd

import (
	"context"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/rpc"
)

// IsPinned reports whether the containerd on a socket has an image and will not
// remove it: the kubelet's garbage collection leaves pinned images alone. An error
// is that it cannot be asked.
func IsPinned(ctx context.Context, socket, image string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	d := dialer{socket: socket}
	conn := rpc.New(d.dial)
	defer conn.Close()
	found, _, err := find(ctx, conn, image)
	return found.Pinned, err
}
