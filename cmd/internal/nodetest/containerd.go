package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Registry is containerd's way to one image.
type Registry interface {
	Resolve(ctx context.Context) (name string, desc ocispec.Descriptor, err error)
	Fetcher(ctx context.Context, name string) (Fetcher, error)
}

// A Fetcher gets what a descriptor describes.
type Fetcher interface {
	Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

// A Way is one of containerd's ways to pull: it returns how a reference is
// reached by the tree in hostsDir and with a credential.
type Way func(ctx context.Context, hostsDir, reference string, c Credential) (Registry, error)

// Resolver is the way of containerd's CRI plugin, which pulls by itself
// (containerd v2.4.2, internal/cri/server/images/image_pull.go): the docker
// resolver, and the credential for whichever host asks.
func Resolver(ctx context.Context, hostsDir, reference string, c Credential) (Registry, error) {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, config.HostOptions{
		HostDir:     config.HostDirFromRoot(hostsDir),
		Credentials: func(string) (string, string, error) { return c.Username, c.Password, nil },
	})})
	return resolverRegistry{resolver, reference}, nil
}

type resolverRegistry struct {
	remotes.Resolver
	reference string
}

func (r resolverRegistry) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return r.Resolver.Resolve(ctx, r.reference)
}

func (r resolverRegistry) Fetcher(ctx context.Context, name string) (Fetcher, error) {
	return r.Resolver.Fetcher(ctx, name)
}

// A Pulled is what one attempt to pull brought.
type Pulled struct {
	Digest string   // of the manifest
	Blobs  []string // digests of the configuration and the layers, all verified
	Bytes  int64    // of all of it
	// Fault is why there is no image, "" if there is one.
	Fault string
}

// wayVariable names the way that this process pulls by. A pull is a process of
// its own since containerd takes its proxy and its CAs from the environment,
// where Go's standard library reads them once.
const wayVariable = "NODETEST_CONTAINERD"

// An order is what such a process is told, on its standard input.
type order struct {
	HostsDir, Reference string
	Credential          Credential
}

// Pull has containerd pull an image, once, with one credential. The process is
// this program started anew, whose main has to call [Containerd] with a way of
// that name.
func (n *Node) Pull(ctx context.Context, way, image string, c Credential) (Pulled, error) {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return Pulled{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return Pulled{}, err
	}
	stdin, err := json.Marshal(order{n.Path(HostsDir), named.String(), c})
	if err != nil {
		return Pulled{}, err
	}
	run, err := n.run(ctx, stdin, append(slices.Clone(n.ContainerdEnv), wayVariable+"="+way), self)
	if err != nil {
		return Pulled{}, err
	}
	var pulled Pulled
	if err := json.Unmarshal([]byte(run.Stdout), &pulled); err != nil || run.Code != 0 {
		return Pulled{}, fmt.Errorf("the process that pulls by %q ended with exit code %d: %s", way, run.Code, run.Stderr)
	}
	return pulled, nil
}

// Containerd makes this process a containerd if [Node.Pull] started it as
// one, and does nothing elsewhere. It reports whether it did; then nothing is
// left to do.
func Containerd(ctx context.Context, ways map[string]Way, stdin io.Reader, stdout io.Writer) (bool, error) {
	name := os.Getenv(wayVariable)
	if name == "" {
		return false, nil
	}
	way := ways[name]
	if way == nil {
		return true, fmt.Errorf("there is no way %q to pull", name)
	}
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return true, err
	}
	pulled, err := pull(ctx, way, o)
	if err != nil {
		pulled = Pulled{Fault: err.Error()}
	}
	return true, json.NewEncoder(stdout).Encode(pulled)
}

// pull pulls one image: its manifest, its configuration and its layers, each
// verified by its digest.
func pull(ctx context.Context, way Way, o order) (Pulled, error) {
	registry, err := way(ctx, o.HostsDir, o.Reference, o.Credential)
	if err != nil {
		return Pulled{}, err
	}
	name, top, err := registry.Resolve(ctx)
	if err != nil {
		return Pulled{}, err
	}
	fetcher, err := registry.Fetcher(ctx, name)
	if err != nil {
		return Pulled{}, err
	}
	data, err := fetch(ctx, fetcher, top)
	if err != nil {
		return Pulled{}, fmt.Errorf("manifest: %w", err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return Pulled{}, fmt.Errorf("manifest: %w", err)
	}
	if len(manifest.Layers) == 0 {
		return Pulled{}, errors.New("manifest: it names no layer")
	}
	pulled := Pulled{Digest: top.Digest.String(), Bytes: int64(len(data))}
	for _, desc := range append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...) {
		blob, err := fetch(ctx, fetcher, desc)
		if err != nil {
			return Pulled{}, fmt.Errorf("blob %s: %w", desc.Digest, err)
		}
		pulled.Blobs = append(pulled.Blobs, desc.Digest.String())
		pulled.Bytes += int64(len(blob))
	}
	return pulled, nil
}

// fetch returns the bytes of a descriptor if they are those it describes.
func fetch(ctx context.Context, f Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	r, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, desc.Size+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) != desc.Size:
		return nil, fmt.Errorf("the registry sent another number of bytes than %d", desc.Size)
	case digest.FromBytes(data) != desc.Digest:
		return nil, errors.New("the registry sent other bytes than those of the digest")
	}
	return data, nil
}
