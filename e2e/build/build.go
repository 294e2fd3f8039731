// Package build makes the programs that a node consists of.
//
// Other projects' programs (containerd with its shim, the kubelet, the control plane) take
// minutes, so they are built from their modules once and kept in the user's cache, in a
// directory for each version. mirrorcred's are built anew for each run. It knows
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

// KubeletVersion is the kubelet that kubelet/go.mod names.
const KubeletVersion = "1.37.2"

// small leaves out of containerd what no test needs: other snapshotters, the
// exporting of traces.
const small = "no_btrfs,no_devmapper,no_zfs,no_aufs,no_tracing"

// Containerd returns the directory with containerd and its shim of a version
// such as "2.4.2".
func Containerd(ctx context.Context, version string, log io.Writer) (string, error) {
	module := containerdModule(version)
	return cached("containerd-"+version, log, func(dir string) error {
		return withModule(module, version, func(source string) error {
			return inModule(ctx, source, version, log, dir+"/", module+"/cmd/containerd", module+"/cmd/containerd-shim-runc-v2")
		})
	})
}

func containerdModule(version string) string {
	if strings.HasPrefix(version, "1.") {
		return "github.com/containerd/containerd"
	}
	return "github.com/containerd/containerd/v2"
}

// withModule runs build in the directory of a module that does nothing but
// require a version of another. Such a module takes the versions from the other's
// go.mod, the version of Go, and with it the defaults of GODEBUG,
// included. "go install" of a version will not have the exclude directives that
// some have.
func withModule(module, version string, build func(source string) error) error {
	source, err := scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	mod := fmt.Sprintf("module node\n\ngo 1.21\n\nrequire %s v%s\n", module, version)
	if err := os.WriteFile(filepath.Join(source, "go.mod"), []byte(mod), 0o644); err != nil {
		return err
	}
	return build(source)
}

// inModule builds packages in such a module, with the version stamped in.
func inModule(ctx context.Context, source, version string, log io.Writer, out string, packages ...string) error {
	stamp := "-s -w -X " + containerdModule(version) + "/version.Version=v" + version
	c := command(ctx, log, append([]string{"build", "-mod=mod", "-trimpath", "-tags", small, "-ldflags", stamp, "-o", out}, packages...)...)
	c.Dir = source
	return c.Run()
}

// Kubelet returns the directory with the kubelet of a version such as
// [KubeletVersion]. source is the directory of its module, which is of that
// version; of another version it is built from a copy with other numbers.
func Kubelet(ctx context.Context, source, version string, log io.Writer) (string, error) {
	return cached("kubelet-"+version, log, func(dir string) error {
		args := []string{"build"}
		if version != KubeletVersion {
			other, err := scratch()
			if err != nil {
				return err
			}
			defer os.RemoveAll(other)
			if err := otherKubelet(other, source, version); err != nil {
				return err
			}
			source, args = other, append(args, "-mod=mod")
		}
		c := command(ctx, log, append(args, "-trimpath",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v"+version,
			"-o", filepath.Join(dir, "kubelet"), ".")...)
		c.Dir = source
		return c.Run()
	})
}

// ControlPlane returns the directory with etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler, which are one program under four
// names. source is the directory of its module. Its modules and flags are the
// kubelet's, so that Go compiles what they share only once.
func ControlPlane(ctx context.Context, source string, log io.Writer) (string, error) {
	files := map[string][]byte{}
	for _, name := range []string{"go.mod", "main.go"} {
		var err error
		if files[name], err = os.ReadFile(filepath.Join(source, name)); err != nil {
			return "", err
		}
	}
	return cachedSource("controlplane-"+KubeletVersion, files, log, func(dir string) error {
		c := command(ctx, log, "build", "-trimpath",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v"+KubeletVersion,
			"-o", filepath.Join(dir, "controlplane"), ".")
		c.Dir = source
		if err := c.Run(); err != nil {
			return err
		}
		for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			if err := os.Symlink("controlplane", filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// cniVersion is the network plugins that containerd 2.4.2 is tested with.
const cniVersion = "1.9.1"

// CNI returns the directory with the network plugins that give a pod a network
// of its own.
func CNI(ctx context.Context, log io.Writer) (string, error) {
	const module = "github.com/containernetworking/plugins"
	return cached("cni-"+cniVersion, log, func(dir string) error {
		return withModule(module, cniVersion, func(source string) error {
			c := command(ctx, log, "build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/",
				module+"/plugins/main/ptp", module+"/plugins/main/loopback", module+"/plugins/ipam/host-local")
			c.Dir = source
			return c.Run()
		})
	})
}

// otherKubelet writes a module for a kubelet of another version into dir. All modules of
// Kubernetes have its number, with a 0 for the 1; other modules are the versions
// that they ask for.
func otherKubelet(dir, source, version string) error {
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	main, err := os.ReadFile(filepath.Join(source, "main.go"))
	if err != nil {
		return err
	}
	var lines []string
	for _, line := range strings.Split(string(mod), "\n") {
		if !strings.HasSuffix(line, "// indirect") {
			lines = append(lines, line)
		}
	}
	text := strings.NewReplacer("v"+KubeletVersion, "v"+version, "v0"+KubeletVersion[1:], "v0"+version[1:]).Replace(strings.Join(lines, "\n"))
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "main.go"), main, 0o644)
}

// ourTags are those of the Makefile.
const ourTags = "grpcnotrace,nethttpomithttp2"

// Ours builds packages of the module at source, each into dir under the last
// part of its path.
func Ours(ctx context.Context, source, dir string, log io.Writer, packages ...string) error {
	for _, p := range packages {
		c := command(ctx, log, "build", "-tags", ourTags, "-o", filepath.Join(dir, filepath.Base(p)), p)
		c.Dir = source
		if err := c.Run(); err != nil {
			return fmt.Errorf("go build %s in %s: %w", p, source, err)
		}
	}
	return nil
}

// Next builds mirrorcred's two programs into a directory as those of another version.
// source is the directory of mirrorcred's module.
func Next(ctx context.Context, source, dir, version string, log io.Writer) error {
	stamp := "-X main.version=" + version + " -X github.com/mirrorcred/mirrorcred/cmd/internal/plugin.Version=" + version
	c := command(ctx, log, "build", "-tags", ourTags, "-ldflags", stamp, "-o", dir+"/", "./cmd/mirrorcred", "./cmd/mirror-credential-provider")
	c.Dir = source
	if err := c.Run(); err != nil {
		return fmt.Errorf("go build of version %s: %w", version, err)
	}
	return nil
}

// scratch makes a directory that a later run removes (see box.Scratch) if this
// process is killed and is no more then.
func scratch() (string, error) {
	return os.MkdirTemp("", fmt.Sprintf("mirrorcred-e2e-%d-*", os.Getpid()))
}

func command(ctx context.Context, log io.Writer, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "go", args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	c.Stdout, c.Stderr = log, log
	return c
}

// cached returns a directory of the cache, and has build fill it first if
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
