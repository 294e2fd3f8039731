package containerd

import (
	"context"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/rpc"
)

// The numbers of the fields are those of the CRI (k8s.io/cri-api v0.37.0,
// pkg/apis/runtime/v1/api.proto) and of containerd's API (api v1.12.0,
// services/*/*.proto). containerdtest serves both with the generated code.
const (
	imageService   = "runtime.v1.ImageService/"
	runtimeService = "runtime.v1.RuntimeService/"
)

// spec returns the first field of a request, an ImageSpec.
func spec(image string) []byte { return rpc.Message(1, rpc.Text(1, image)) }

// find returns an image, and false if containerd does not have it.
func find(ctx context.Context, conn *rpc.Conn, image string) (found Image, ok bool, err error) {
	answer, err := conn.Call(ctx, imageService+"ImageStatus", spec(image))
	if err != nil {
		return Image{}, false, err
	}
	err = rpc.Each(answer, func(number int, v rpc.Value) error {
		if number != 1 {
			return nil
		}
		ok = true
		return v.Each(found.read)
	})
	return found, ok, err
}

// read reads a field of a CRI's Image.
func (i *Image) read(number int, v rpc.Value) error {
	switch number {
	case 1:
		return v.Text(&i.ID)
	case 3: // repo_digests
		var name string
		err := v.Text(&name)
		if _, digest, ok := strings.Cut(name, "@"); ok && i.Digest == "" {
			i.Digest = digest
		}
		return err
	case 4:
		i.Size = v.Number
	case 8:
		i.Pinned = v.Number != 0
	}
	return nil
}

// readIngests reads a ListStatusesResponse.
func readIngests(answer []byte) (list []Ingest, err error) {
	err = rpc.Each(answer, func(number int, v rpc.Value) error {
		if number != 1 {
			return nil
		}
		var i Ingest
		err := v.Each(i.read)
		list = append(list, i)
		return err
	})
	return list, err
}

// read reads a field of a Status of the content store.
func (i *Ingest) read(number int, v rpc.Value) error {
	switch number {
	case 1: // started_at, a Timestamp
		var seconds, nanos int64
		err := v.Each(func(number int, v rpc.Value) error {
			switch number {
			case 1:
				seconds = int64(v.Number)
			case 2:
				nanos = int64(v.Number)
			}
			return nil
		})
		i.Started = time.Unix(seconds, nanos).UTC()
		return err
	case 3:
		return v.Text(&i.Ref)
	case 4:
		i.Offset = int64(v.Number)
	case 5:
		i.Total = int64(v.Number)
	}
	return nil
}
