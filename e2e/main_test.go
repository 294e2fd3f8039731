// Package e2e brings up a node in a box, with a real containerd and a real
// kubelet, and watches where images come from and where credentials go.
//
// The box (package box) is a machine of its own as far as the node's programs
// can see. In it a stand-in for Azure (package azuretest) answers under the
// names and at the ports that a node knows, so that no program is told of a
// test: not by a flag, not by a proxy, not by its environment. containerd and
// the kubelet are built from their modules and kept (package build).
//
// The tests need root. Read TestPull first, then TestPod, TestBareNode for a node
// that is set up by mirrorcred alone, TestCluster for a node of a cluster with a real
// control plane (package cluster), and TestRollout for the chart on one.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/e2e/box"
	"github.com/mirrorcred/mirrorcred/e2e/build"
)

// The versions of containerd: the last of each line. The first is the one that
// tests use which need but one. Each takes minutes to build, so a change is held
// against the newest and the oldest. The grid and the configurations have every line
// each time.
var (
	ciVersions  = []string{"2.4.2", "1.7.35"}
	allVersions = []string{"2.4.2", "1.7.35", "2.0.14", "2.1.9", "2.2.9", "2.3.7"}
)

// The environment of the tests: E2E_CONTAINERD, "all" or a list of versions
// apart by commas, says which to run; E2E_KUBELET is another version of the
// kubelet; UPDATE=1 has docs/compatibility.md written.
const (
	versionsVariable = "E2E_CONTAINERD"
	kubeletVariable  = "E2E_KUBELET"
	binVariable      = "MIRRORCRED_E2E_BIN" // directories with the programs, set for the inside
)

func kubeletVersion() string {
	if v := os.Getenv(kubeletVariable); v != "" {
		return v
	}
	return build.KubeletVersion
}

func versions() []string {
	switch v := os.Getenv(versionsVariable); v {
	case "":
		return ciVersions
	case "all":
		return allVersions
	default:
		return strings.Split(v, ",")
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if !box.Inside() {
		ours := ""
		defer func() { os.RemoveAll(ours) }()
		return box.Run(func() (env []string, err error) {
			env, ours, err = programs()
			return env, err
		})
	}
	// Those that run at once wait more than they work.
	flag.Set("test.parallel", "100")
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// programs makes all programs and returns the environment that names them, and
// the directory of those to remove at the end.
func programs() (env []string, ours string, err error) {
	ctx := context.Background()
	var dirs []string
	for _, v := range versions() {
		dir, err := build.Containerd(ctx, v, os.Stderr)
		if err != nil {
			return nil, "", err
		}
		dirs = append(dirs, dir)
	}
	kubelet, err := build.Kubelet(ctx, "kubelet", kubeletVersion(), os.Stderr)
	if err != nil {
		return nil, "", err
	}
	control, err := build.ControlPlane(ctx, "controlplane", os.Stderr)
	if err != nil {
		return nil, "", err
	}
	cni, err := build.CNI(ctx, os.Stderr)
	if err != nil {
		return nil, "", err
	}
	if ours, err = box.Scratch(); err != nil {
		return nil, "", err
	}
	if err := build.Ours(ctx, "..", ours, os.Stderr, "./cmd/mirrorcred", "./cmd/mirror-credential-provider"); err != nil {
		return nil, ours, err
	}
	if err := build.Next(ctx, "..", filepath.Join(ours, nextVersion), nextVersion, os.Stderr); err != nil {
		return nil, ours, err
	}
	if err := build.Ours(ctx, ".", ours, os.Stderr, "./workload", "./inspect"); err != nil {
		return nil, ours, err
	}
	if err := build.Ours(ctx, "../deploy", ours, os.Stderr, "./manifests"); err != nil {
		return nil, ours, err
	}
	return []string{binVariable + "=" + strings.Join(append(dirs, kubelet, control, cni, ours), ":")}, ours, nil
}

// program returns the path of a program, or the directory of a containerd.
func program(name string) string {
	for _, dir := range strings.Split(os.Getenv(binVariable), ":") {
		if filepath.Base(dir) == name {
			return dir
		}
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}
