package containerd

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/rpc"
)

// The full services answer with more fields than are read, by the generated code, and
// report what they are asked.
type (
	asked       chan string
	fullRuntime struct {
		cri.UnimplementedRuntimeServiceServer
		asked
	}
	fullImages struct {
		cri.UnimplementedImageServiceServer
		asked
	}
	fullContent struct {
		contentapi.UnimplementedContentServer
	}
	fullIntrospection struct {
		introspection.UnimplementedIntrospectionServer
		asked
	}
)

func (f fullRuntime) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	f.asked <- r.String()
	meta := &cri.PodSandboxMetadata{Name: "n", Uid: "u", Namespace: "kube-system", Attempt: 1}
	return &cri.ListPodSandboxResponse{Items: []*cri.PodSandbox{{Id: "pod1", Metadata: meta, CreatedAt: 1}, {Id: "pod2", Metadata: meta}}}, nil
}

func (f fullRuntime) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	f.asked <- r.String()
	return &cri.ListContainersResponse{Containers: []*cri.Container{
		{Id: "c", PodSandboxId: r.Filter.PodSandboxId, ImageRef: "sha256:0", Image: &cri.ImageSpec{Image: "sha256:0", UserSpecifiedImage: "quay.io/" + r.Filter.PodSandboxId}},
		{Id: "d", Image: &cri.ImageSpec{Image: "sha256:0", UserSpecifiedImage: "quay.io/both"}},
	}}, nil
}

func (f fullImages) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	f.asked <- r.String()
	return &cri.ImageStatusResponse{Info: map[string]string{"a": "b"}, Image: &cri.Image{
		Id: "sha256:1", RepoTags: []string{"quay.io/a:1"}, RepoDigests: []string{"none", "quay.io/a@sha256:2", "quay.io/a@sha256:3"},
		Size: 1<<64 - 1, Uid: &cri.Int64Value{Value: 7}, Spec: &cri.ImageSpec{Image: "x"}, Pinned: true,
	}}, nil
}

func (fullContent) ListStatuses(context.Context, *contentapi.ListStatusesRequest) (*contentapi.ListStatusesResponse, error) {
	return &contentapi.ListStatusesResponse{Statuses: []*contentapi.Status{
		{StartedAt: timestamppb.New(time.Unix(5, 7)), UpdatedAt: timestamppb.Now(), Ref: "layer", Offset: 1 << 40, Total: 1 << 41, Expected: "sha256:4"},
		{Ref: "other", Total: -1},
	}}, nil
}

func (f fullIntrospection) Plugins(_ context.Context, r *introspection.PluginsRequest) (*introspection.PluginsResponse, error) {
	f.asked <- r.String()
	return &introspection.PluginsResponse{Plugins: []*introspection.Plugin{
		{Type: "t", ID: "broken", Requires: []string{"*"}, InitErr: status.New(codes.Unknown, "no such file").Proto()},
		{Type: "t", ID: "images", Exports: map[string]string{"Other": "x", "RegistryConfigPath": tree}, Capabilities: []string{"c"}},
		{Type: "t", ID: "later", Exports: map[string]string{"RegistryConfigPath": "/never"}},
	}}, nil
}

// fullContainerd returns the socket of a containerd with the full services, and a function
// that fails unless its next question, to any but the content store, is that.
func fullContainerd(t *testing.T) (socket string, expect func(question fmt.Stringer)) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	by := make(asked, 9)
	g := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(g, fullRuntime{asked: by})
	cri.RegisterImageServiceServer(g, fullImages{asked: by})
	contentapi.RegisterContentServer(g, fullContent{})
	introspection.RegisterIntrospectionServer(g, fullIntrospection{asked: by})
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return socket, func(question fmt.Stringer) {
		t.Helper()
		if got, want := <-by, question.String(); got != want {
			t.Errorf("containerd is asked %s; want %s", got, want)
		}
	}
}

// TestAnswers has the generated code of containerd's API and of the CRI read each
// request, and write each answer.
func TestAnswers(t *testing.T) {
	socket, expect := fullContainerd(t)

	own, err := OwnImages(t.Context(), socket)
	if want := []string{"quay.io/both", "quay.io/pod1", "quay.io/pod2"}; err != nil || !slices.Equal(own, want) {
		t.Errorf("OwnImages = %q, %v; want %q", own, err, want)
	}
	expect(&cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{LabelSelector: map[string]string{"app.kubernetes.io/name": "mirrorcred"}}})
	expect(&cri.ListContainersRequest{Filter: &cri.ContainerFilter{PodSandboxId: "pod1"}})
	expect(&cri.ListContainersRequest{Filter: &cri.ContainerFilter{PodSandboxId: "pod2"}})

	d := dialer{socket: socket}
	conn := rpc.New(d.dial)
	defer conn.Close()
	r := &running{}
	if err := r.askIntrospection(t.Context(), conn); err != nil || !r.told || r.configPath != tree || r.broken != "no such file" {
		t.Errorf("askIntrospection = %v, %+v", err, r)
	}
	expect(&introspection.PluginsRequest{Filters: []string{"type==io.containerd.cri.v1,id==images"}})
}

// TestImageAnswers is the same for images.
func TestImageAnswers(t *testing.T) {
	socket, expect := fullContainerd(t)
	images := OpenImages(socket)
	defer images.Close()
	found, ok, err := images.Find(t.Context(), "quay.io/a:1")
	if want := (Image{ID: "sha256:1", Digest: "sha256:2", Size: 1<<64 - 1, Pinned: true}); err != nil || !ok || found != want {
		t.Errorf("Find = %+v, %t, %v; want %+v", found, ok, err, want)
	}
	expect(&cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: "quay.io/a:1"}})
	if pinned, err := IsPinned(t.Context(), socket, "quay.io/a:1"); err != nil || !pinned {
		t.Errorf("IsPinned = %t, %v", pinned, err)
	}
	expect(&cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: "quay.io/a:1"}})

	ingests, err := images.Ingests(t.Context())
	want := []Ingest{{Ref: "layer", Started: time.Unix(5, 7).UTC(), Offset: 1 << 40, Total: 1 << 41}, {Ref: "other", Total: -1}}
	if len(ingests) == 2 {
		want[1].Started = ingests[1].Started // it has none
	}
	if err != nil || !slices.Equal(ingests, want) {
		t.Errorf("Ingests = %+v, %v; want %+v", ingests, err, want)
	}
}
