package containerd

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// IsPinned reports whether the containerd on a socket has an image and will not
// remove it: the kubelet's garbage collection leaves pinned images alone. An error
// is that it cannot be asked.
func IsPinned(ctx context.Context, socket, image string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	d := dialer{socket: socket}
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithContextDialer(d.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	answer, err := cri.NewImageServiceClient(conn).ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil {
		return false, err
	}
	return answer.GetImage().GetPinned(), nil
}
