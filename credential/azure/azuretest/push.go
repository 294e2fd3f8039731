package azuretest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// PushRandom adds a new image to the registry, with one random layer of 1 KiB,
// for the platform that the test runs on. It returns the digest ("sha256:…").
// It needs no token, and is not recorded.
func (a *ACR) PushRandom(repository, tag string) (string, error) {
	image, err := random.Image(1<<10, 1)
	if err != nil {
		return "", err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return "", err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return "", err
	}
	return a.Push(repository, tag, image)
}

// Push adds an image to the registry, as [ACR.PushRandom] does, and returns its
// digest.
func (a *ACR) Push(repository, tag string, image v1.Image) (string, error) {
	layers, err := image.Layers()
	if err != nil {
		return "", err
	}
	for _, layer := range layers {
		if err := a.pushLayer(repository, layer); err != nil {
			return "", err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return "", err
	}
	configName, err := image.ConfigName()
	if err != nil {
		return "", err
	}
	if err := a.pushBlob(repository, configName, bytes.NewReader(config)); err != nil {
		return "", err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return "", err
	}
	mediaType, err := image.MediaType()
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	for _, reference := range []string{tag, digest.String()} {
		if err := a.put(http.MethodPut, "/v2/"+repository+"/manifests/"+reference, string(mediaType), bytes.NewReader(manifest)); err != nil {
			return "", err
		}
	}
	return digest.String(), nil
}

// PushIndex adds an index and its images to the registry, as [ACR.PushRandom] does.
func (a *ACR) PushIndex(repository, tag string, index v1.ImageIndex) error {
	list, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, desc := range list.Manifests {
		image, err := index.Image(desc.Digest)
		if err != nil {
			return err
		}
		if _, err := a.Push(repository, desc.Digest.String(), image); err != nil {
			return err
		}
	}
	manifest, err := index.RawManifest()
	if err != nil {
		return err
	}
	return a.put(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, string(list.MediaType), bytes.NewReader(manifest))
}

func (a *ACR) pushLayer(repository string, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	blob, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer blob.Close()
	return a.pushBlob(repository, digest, blob)
}

func (a *ACR) pushBlob(repository string, digest v1.Hash, blob io.Reader) error {
	return a.put(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", blob)
}

// put hands a request to the OCI registry itself, past the token check.
func (a *ACR) put(method, path, mediaType string, body io.Reader) error {
	r, err := http.NewRequest(method, "https://"+a.host+path, body)
	if err != nil {
		return err
	}
	if r.ContentLength == 0 {
		r.ContentLength = -1 // a layer's length is not known here
	}
	r.Header.Set("Content-Type", mediaType)
	w := &answer{header: http.Header{}, status: http.StatusOK}
	a.store.ServeHTTP(w, r)
	if w.status >= 300 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, w.status, w.body.String())
	}
	return nil
}

// An answer is an http.ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header         { return w.header }
func (w *answer) WriteHeader(status int)      { w.status = status }
func (w *answer) Write(p []byte) (int, error) { return w.body.Write(p) }
