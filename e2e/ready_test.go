package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// cacheHost is where the cache of the node listens.
const cacheHost = "127.0.0.1:30020"

// cached is a map with that cache, which is waited for.
func cached(ready string) string {
	return fmt.Sprintf("version = 1\n\n[[mirror]]\nsource = %q\ntargets = [\"http://%s\"]\nready = %q\n", open, cacheHost, ready)
}

// A new node pulls from the source until the cache that its map names listens, and then
// from the cache.
func TestReady(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	push(t, open, "app/early", "1")
	if said := apply(t, cached("60s"), 2); !strings.Contains(said, "does not answer yet") {
		t.Errorf("apply says\n%s", said)
	}
	check(t, pull(t.Context(), c, open+"/app/early", "1"))

	startCache(t, "app/late")
	apply(t, cached("60s"), 0)
	check(t, pull(t.Context(), c, open+"/app/late", "1")) // which the source does not have
}

// If the cache never listens, the watcher turns the mirror on when the time is over, and
// says so.
func TestReadyInTime(t *testing.T) {
	freshNode(t)
	startContainerd(t, versions()[0])
	write(t, mapFile, cached("3s"))
	began := time.Now()
	startWatcher(t)
	awaitStep(t, time.Time{})
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the mirror is on after %s; want 3s at least", took)
	}
	within(t, 10*time.Second, func() error {
		out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "status").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "did not answer within 3s") {
			err = fmt.Errorf("status says\n%s", out)
		}
		return err
	})
}

// startCache starts the cache, which has one repository.
func startCache(t *testing.T, repository string) {
	t.Helper()
	image, err := workload()
	check(t, err)
	l, err := net.Listen("tcp", cacheHost)
	check(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, "/v2/"+repository+"/")
		switch {
		case r.URL.Path == "/v2/":
		case !ok || giveObject(w, image, rest) != nil:
			http.NotFound(w, r)
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// giveObject serves "manifests/…" or "blobs/…" of an image.
func giveObject(w http.ResponseWriter, image v1.Image, object string) error {
	if path.Dir(object) == "manifests" {
		data, err := image.RawManifest()
		if err != nil {
			return err
		}
		kind, err := image.MediaType()
		if err != nil {
			return err
		}
		digest, err := image.Digest()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", string(kind))
		w.Header().Set("Docker-Content-Digest", digest.String())
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, err = w.Write(data)
		return err
	}
	digest, err := v1.NewHash(path.Base(object))
	if err != nil {
		return err
	}
	if config, err := image.ConfigName(); err != nil || config == digest {
		data, err := image.RawConfigFile()
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	layer, err := image.LayerByDigest(digest)
	if err != nil {
		return err
	}
	data, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer data.Close()
	_, err = io.Copy(w, data)
	return err
}
