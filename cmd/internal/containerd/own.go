package containerd

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ownLabel is the label of the pods of mirrorcred's chart.
const ownLabel, ownName = "app.kubernetes.io/name", "mirrorcred"

// OwnImages returns the images of mirrorcred's own pods that are on the containerd on a
// socket, as the pods name them.
func OwnImages(ctx context.Context, socket string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	d := dialer{socket: socket}
	conn, err := grpc.NewClient("passthrough:///containerd", grpc.WithContextDialer(d.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := cri.NewRuntimeServiceClient(conn)
	pods, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{LabelSelector: map[string]string{ownLabel: ownName}}})
	if err != nil {
		return nil, err
	}
	var images []string
	for _, pod := range pods.Items {
		list, err := client.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{PodSandboxId: pod.Id}})
		if err != nil {
			return nil, err
		}
		for _, c := range list.Containers {
			// Image.Image is an id.
			images = append(images, c.GetImage().GetUserSpecifiedImage())
		}
	}
	slices.Sort(images)
	return slices.Compact(images), nil
}
