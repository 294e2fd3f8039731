package build

import (
	"context"
	"embed"
	"io"
	"strings"
)

// pullerSource is a program that each line of containerd must be linked into.
//
//go:embed testdata/puller
var pullerSource embed.FS

// Puller returns the directory with the puller of a version of containerd: the
// program "puller", which pulls with that version's own client of registries.
func Puller(ctx context.Context, version string, log io.Writer) (string, error) {
	files, err := sourceFiles(pullerSource, "testdata/puller/", pullerParts(version))
	if err != nil {
		return "", err
	}
	return cachedSource("puller-"+version, files, log, func(dir string) error {
		return withModule(containerdModule(version), version, func(source string) error {
			return buildProgram(ctx, source, version, files, log, dir, "puller")
		})
	})
}

// pullerParts returns the files that a version is linked with.
func pullerParts(version string) []string {
	switch {
	case containerdMajor(version) == "1":
		return []string{"puller.go", "v1.go"}
	case strings.HasPrefix(version, "2.0."):
		return []string{"puller.go", "local2.go", "v20.go"}
	}
	return []string{"puller.go", "local2.go", "v21.go"}
}
