package containerdtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/version/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Store is a containerd of this process that pretends to pull: it records what it
// is asked, and answers as it is told.
type Store struct {
	Version string // such as "v2.4.2"
	Sandbox string // the pause image, as it is configured
	// Answers are those to the next pulls, "CODE TEXT", with a code of gRPC; "OK"
	// is success. $PASSWORD in a text is that of the pull. A pull without an answer
	// works.
	Answers []string
	// Slow is how long a pull takes, during which two layers are downloaded.
	Slow time.Duration

	mu      sync.Mutex
	pulls   []string
	pinned  map[string]bool
	began   time.Time
	pulling bool
}

// Listen has the store listen on a socket until stop is called.
func (s *Store) Listen(socket string) (stop func(), err error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	s.pinned = map[string]bool{}
	g := grpc.NewServer()
	about := server{is: s.Version, sandbox: s.Sandbox}
	version.RegisterVersionServer(g, about)
	introspection.RegisterIntrospectionServer(g, about)
	cri.RegisterRuntimeServiceServer(g, criServer{server: about})
	cri.RegisterImageServiceServer(g, images{Store: s})
	contentapi.RegisterContentServer(g, contents{Store: s})
	go func() { _ = g.Serve(listener) }()
	return g.Stop, nil
}

// Pulls returns what was pulled, in order: "IMAGE USER:PASSWORD", or
// "IMAGE anonymous".
func (s *Store) Pulls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pulls)
}

type images struct {
	cri.UnimplementedImageServiceServer
	*Store
}

func (i images) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	return &cri.ListImagesResponse{}, nil
}

// PullImage does what the next answer says. It pins the pause image by the rule of
// its version: 2.x by the text, 1.x by what the text refers to.
func (i images) PullImage(ctx context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	name := r.Image.Image
	who := "anonymous"
	if r.Auth != nil {
		who = r.Auth.Username + ":" + r.Auth.Password
	}
	i.mu.Lock()
	i.pulls = append(i.pulls, name+" "+who)
	answer := "OK"
	if len(i.Answers) > 0 {
		answer, i.Answers = i.Answers[0], i.Answers[1:]
	}
	i.began, i.pulling = time.Now(), true
	i.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(i.Slow):
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pulling = false
	if code, text, _ := strings.Cut(answer, " "); code != "OK" {
		var c codes.Code
		if err := c.UnmarshalJSON([]byte(code)); err != nil {
			return nil, err
		}
		return nil, status.Error(c, strings.ReplaceAll(text, "$PASSWORD", r.Auth.GetPassword()))
	}
	i.pinned[name] = name == i.Sandbox || strings.HasPrefix(i.Version, "v1.") && strings.HasSuffix(name, "/"+i.Sandbox)
	return &cri.PullImageResponse{ImageRef: digest(name)}, nil
}

func (i images) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	pinned, ok := i.pinned[r.Image.Image]
	if !ok {
		return &cri.ImageStatusResponse{}, nil
	}
	name, _, _ := strings.Cut(r.Image.Image, ":")
	return &cri.ImageStatusResponse{Image: &cri.Image{
		Id: digest("id"), RepoDigests: []string{name + "@" + digest(r.Image.Image)}, Size: 321_000, Pinned: pinned,
	}}, nil
}

func digest(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

type contents struct {
	contentapi.UnimplementedContentServer
	*Store
}

// ListStatuses reports two layers that are half there while a pull runs, and one of
// an earlier pull.
func (c contents) ListStatuses(ctx context.Context, _ *contentapi.ListStatusesRequest) (*contentapi.ListStatusesResponse, error) {
	if md, _ := metadata.FromIncomingContext(ctx); !slices.Equal(md.Get("containerd-namespace"), []string{"k8s.io"}) {
		return nil, status.Error(codes.FailedPrecondition, "namespace is required")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := &contentapi.ListStatusesResponse{}
	if c.pulling {
		now, old := timestamppb.New(c.began), timestamppb.New(c.began.Add(-time.Hour))
		answer.Statuses = []*contentapi.Status{
			{Ref: "layer-sha256:a", StartedAt: now, Offset: 1 << 20, Total: 3 << 20},
			{Ref: "layer-sha256:b", StartedAt: now, Offset: 1 << 20, Total: 1 << 20},
			{Ref: "config-sha256:c", StartedAt: now, Offset: 10, Total: 10},
			{Ref: "layer-sha256:d", StartedAt: old, Offset: 1 << 30, Total: 1 << 30},
		}
	}
	return answer, nil
}
