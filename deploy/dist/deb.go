package main

import (
	"bytes"
	"errors"
	"io"

	"github.com/blakesmith/ar"
	"github.com/klauspost/compress/zstd"
)

// debWindow is how far back the compression of a Debian package looks. Both programs
// hold the same parts of Go and of the YAML and TOML readers, 10 MB and more apart, so
// that a window around both makes the package a fifth smaller. dpkg takes that much
// memory to unpack it; it would take no more than 128 MiB.
const debWindow = 32 << 20

// writeDeb copies a Debian package with its files compressed. nfpm makes the package
// with them as they are, because it cannot set the window.
func writeDeb(w io.Writer, r io.Reader) error {
	from, to := ar.NewReader(r), ar.NewWriter(w)
	if err := to.WriteGlobalHeader(); err != nil {
		return err
	}
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(from)
		if err != nil {
			return err
		}
		if header.Name == "data.tar" {
			if data, err = compressed(data); err != nil {
				return err
			}
			header.Name, header.Size = "data.tar.zst", int64(len(data))
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
	}
}

func compressed(data []byte) ([]byte, error) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(debWindow))
	if err != nil {
		return nil, err
	}
	_, err = z.Write(data)
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}
