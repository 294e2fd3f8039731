// Package build makes the programs that a node consists of.
//
// Those of others (containerd with its shim, the kubelet) take minutes, so
// they are built from their modules once and kept in the user's cache, in a
// directory for each version. Ours are built anew for each run. It knows
// nothing of what the programs are for. Start at [Containerd].
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// KubeletVersion is the one kubelet there is; kubelet/go.mod names it too.
const KubeletVersion = "1.36.3"

// small leaves out of containerd what no test needs: other snapshotters, the
// exporting of traces.
const small = "no_btrfs,no_devmapper,no_zfs,no_aufs,no_tracing"

// Containerd returns the directory with containerd and its shim of a version
// such as "2.4.2".
func Containerd(ctx context.Context, version string, log io.Writer) (string, error) {
	module := "github.com/containerd/containerd"
	if !strings.HasPrefix(version, "1.") {
		module += "/v2"
	}
	return cached("containerd-"+version, log, func(dir string) error {
		source, err := os.MkdirTemp("", "mirrorcred-e2e-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(source)
		// A module that does nothing but require theirs takes the versions
		// from their go.mod, the version of Go, and with it the defaults of
		// GODEBUG, included. "go install" of a version will not have the
		// exclude directives that some have.
		mod := fmt.Sprintf("module node\n\ngo 1.21\n\nrequire %s v%s\n", module, version)
		if err := os.WriteFile(filepath.Join(source, "go.mod"), []byte(mod), 0o644); err != nil {
			return err
		}
		c := command(ctx, log, "build", "-mod=mod", "-trimpath", "-tags", small, "-ldflags", "-s -w -X "+module+"/version.Version=v"+version,
			"-o", dir+"/", module+"/cmd/containerd", module+"/cmd/containerd-shim-runc-v2")
		c.Dir = source
		return c.Run()
	})
}

// Kubelet returns the directory with the kubelet. source is the directory of
// its module.
func Kubelet(ctx context.Context, source string, log io.Writer) (string, error) {
	return cached("kubelet-"+KubeletVersion, log, func(dir string) error {
		c := command(ctx, log, "build", "-trimpath",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v"+KubeletVersion,
			"-o", filepath.Join(dir, "kubelet"), ".")
		c.Dir = source
		return c.Run()
	})
}

// Ours builds packages of the module at source, each into dir under the last
// part of its path.
func Ours(ctx context.Context, source, dir string, log io.Writer, packages ...string) error {
	for _, p := range packages {
		c := command(ctx, log, "build", "-o", filepath.Join(dir, filepath.Base(p)), p)
		c.Dir = source
		if err := c.Run(); err != nil {
			return fmt.Errorf("go build %s in %s: %w", p, source, err)
		}
	}
	return nil
}

func command(ctx context.Context, log io.Writer, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "go", args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	c.Stdout, c.Stderr = log, log
	return c
}

// cached returns a directory of the cache, and has build fill it first where
// it is not there. Killed in the middle, nothing is left under its name.
func cached(name string, log io.Writer, build func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "mirrorcred-e2e")
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(root, ".building-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	fmt.Fprintf(log, "building %s, once\n", name)
	if err := build(temporary); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return "", err
	}
	err = os.Rename(temporary, dir)
	if errors.Is(err, fs.ErrExist) {
		err = nil // another run was faster
	}
	return dir, err
}
