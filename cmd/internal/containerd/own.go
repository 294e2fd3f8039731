package containerd

import (
	"context"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/rpc"
)

// ownLabel is the label of the pods of mirrorcred's chart.
const ownLabel, ownName = "app.kubernetes.io/name", "mirrorcred"

// OwnImages returns the images of mirrorcred's own pods that are on the containerd on a
// socket, as the pods name them.
func OwnImages(ctx context.Context, socket string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	d := dialer{socket: socket}
	conn := rpc.New(d.dial)
	defer conn.Close()
	pods, err := askPods(ctx, conn, ownLabel, ownName)
	if err != nil {
		return nil, err
	}
	var images []string
	for _, pod := range pods {
		of, err := askImages(ctx, conn, pod)
		if err != nil {
			return nil, err
		}
		images = append(images, of...)
	}
	slices.Sort(images)
	return slices.Compact(images), nil
}

// askPods asks for the ids of the pods with a label.
func askPods(ctx context.Context, conn *rpc.Conn, key, value string) (ids []string, err error) {
	const id, labelSelector = 1, 3
	answer, err := conn.Call(ctx, runtimeService+"ListPodSandbox", rpc.Message(1, rpc.Message(labelSelector, rpc.Text(1, key), rpc.Text(2, value))))
	if err != nil {
		return nil, err
	}
	return rpc.Texts(answer, 1, id)
}

// askImages asks for the images of a pod's containers, as the pod names them.
func askImages(ctx context.Context, conn *rpc.Conn, pod string) (images []string, err error) {
	const podSandboxID, image, userSpecifiedImage = 3, 4, 18 // ImageSpec.image is an id
	answer, err := conn.Call(ctx, runtimeService+"ListContainers", rpc.Message(1, rpc.Text(podSandboxID, pod)))
	if err != nil {
		return nil, err
	}
	return rpc.Texts(answer, 1, image, userSpecifiedImage)
}
