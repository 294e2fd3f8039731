package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"runtime"
)

const architecture = runtime.GOARCH

// programLayer returns a layer, as a tar, with mirrorcred's programs.
func programLayer(names ...string) (io.ReadCloser, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range names {
		data, err := os.ReadFile(program(name))
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&layer), w.Close()
}
