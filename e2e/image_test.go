package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"runtime"
)

const architecture = runtime.GOARCH

// programLayer returns a layer, as a tar, with the workload's program.
func programLayer() (io.ReadCloser, error) {
	data, err := os.ReadFile(program("workload"))
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "workload", Mode: 0o755, Size: int64(len(data))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	return io.NopCloser(&layer), w.Close()
}
