package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	name   = "mirrorcred" // of the packages, and of the manager
	plugin = "mirror-credential-provider"
	module = "github.com/mirrorcred/mirrorcred"
)

var (
	programs = []string{name, plugin}
	arches   = []string{"amd64", "arm64"}
)

// settings are the environment of each build. They leave nothing to the machine
// that would change a byte: no C compiler, no flags of the user's, no newer
// instructions, and the Go that runs this program.
func settings(arch string) []string {
	env := os.Environ()
	return append(env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOFIPS140=off")
}

// tags are those of the Makefile, which says why.
const tags = "grpcnotrace,nethttpomithttp2"

// build builds both programs for an architecture into a directory.
func build(ctx context.Context, repo, out, arch string, r release) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	flags := strings.Join([]string{
		"-s", "-w", "-buildid=",
		"-X", "main.version=" + r.version, "-X", "main.commit=" + r.commit,
		"-X", module + "/cmd/internal/plugin.Version=" + r.version,
	}, " ")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags", tags, "-ldflags", flags, "-o", abs + "/"}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = repo, settings(arch)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for linux/%s: %w\n%s", arch, err, bytes.TrimSpace(output))
	}
	return nil
}
