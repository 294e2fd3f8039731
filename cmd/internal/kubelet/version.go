package kubelet

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// versionTime is how long a program may take to print its version.
const versionTime = 10 * time.Second

// maxOutput is how much of a program's output is kept.
const maxOutput = 4 << 10

var kubernetesVersion = regexp.MustCompile(`\bv([1-9][0-9]*\.[0-9]+\.[0-9]+)`)

// A prober finds out versions; tests have their own.
type prober struct {
	proc string // where the kernel shows which file a process runs
	root string // of the units
}

// Version returns the version of a kubelet, such as "1.34.2": the one that its
// program was built with, or else the one that it prints with --version and an
// empty environment. It is run only if only root can have put it there.
func (k Kubelet) Version() (string, error) { return prober{"/proc", "/"}.version(k) }

func (p prober) version(k Kubelet) (string, error) {
	file, program, err := p.program(k)
	if err != nil {
		return "", fmt.Errorf("the program of the kubelet (process %d): %w", k.PID, err)
	}
	if v := builtVersion(file); v != "" {
		return v, nil
	}
	if err := checkOwned(program); err != nil {
		return "", fmt.Errorf("the program of the kubelet (process %d) does not hold its version and is not run: %w", k.PID, err)
	}
	v, err := askVersion(program, versionTime)
	if err != nil {
		return "", fmt.Errorf("the kubelet (process %d): %w", k.PID, err)
	}
	return v, nil
}

// program returns the file that a kubelet runs, for reading, and its path
// without links. The kernel's answer comes first. That needs capabilities;
// without them the first argument counts, which root wrote, and then the unit.
func (p prober) program(k Kubelet) (file, program string, err error) {
	exe := fmt.Sprintf("%s/%d/exe", p.proc, k.PID)
	named := ""
	if to, err := os.Readlink(exe); err == nil {
		if path, deleted := strings.CutSuffix(to, " (deleted)"); !deleted {
			return exe, to, nil
		} else if filepath.IsAbs(path) {
			named = path // it was updated, and this file starts next
		}
	}
	if words := strings.Fields(strings.Join(k.Args, " ")); named == "" && len(words) > 0 && filepath.IsAbs(words[0]) {
		named = words[0] // k3s has all of its arguments in the first
	}
	if named == "" && k.Unit == "" {
		return "", "", errors.New("its path cannot be read")
	}
	if named == "" {
		if named, err = execStart(p.root, k.Unit); err != nil {
			return "", "", err
		}
	}
	program, err = filepath.EvalSymlinks(named)
	if err != nil {
		return "", "", err
	}
	return program, program, nil
}

// stamp matches the linker flag that sets the version in a build of Kubernetes.
var stamp = regexp.MustCompile(`-X[=\s]\s*['"]?k8s\.io/(?:component-base|client-go/pkg)/version\.gitVersion=v([1-9][0-9]*\.[0-9]+\.[0-9]+)`)

// builtVersion returns the version in a program's build information, "" if it
// has none. A build with -trimpath records no linker flags, and a build of the
// main module no module version.
func builtVersion(file string) string {
	f, _, err := input.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	return BuiltVersion(f)
}

// BuiltVersion returns the version of Kubernetes, such as "1.34.2", that a program
// was built with; "" if its build information does not say.
func BuiltVersion(program io.ReaderAt) string {
	info, err := buildinfo.Read(program)
	if err != nil {
		return "" // not a Go program
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	for _, s := range info.Settings {
		if s.Key != "-ldflags" {
			continue
		}
		// The linker uses the last of several.
		if all := stamp.FindAllStringSubmatch(s.Value, -1); len(all) > 0 {
			return all[len(all)-1][1]
		}
	}
	for _, dep := range info.Deps {
		if dep.Path != "k8s.io/kubernetes" {
			continue
		}
		if dep.Replace != nil && dep.Replace.Version != "" {
			dep = dep.Replace
		}
		if m := kubernetesVersion.FindStringSubmatch(dep.Version); m != nil {
			return m[1]
		}
	}
	return ""
}

// checkOwned returns an error unless only root can write the file, which has no
// link in its path, and every directory above it.
func checkOwned(program string) error {
	for path := program; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case path == program && !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", path)
		case path != program && !info.IsDir():
			return fmt.Errorf("%s is not a directory", path)
		case !ok || st.Uid != 0:
			return fmt.Errorf("%s is not root's; chown root %s", path, path)
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("%s can be written by others than root (mode %04o); chmod go-w %s", path, info.Mode().Perm(), path)
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// askVersion runs a program with --version, which each kubelet accepts, and k3s
// too.
func askVersion(program string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, program, "--version")
	c.Env, c.Dir = []string{}, "/"
	out := &limited{}
	c.Stdout = out
	c.WaitDelay = time.Second // its child may hold the output open
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	if err := c.Run(); err != nil {
		var exit *exec.ExitError
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", limit)
		} else if !errors.As(err, &exit) {
			var path *fs.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
		}
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	found := kubernetesVersion.FindSubmatch(out.Bytes())
	if found == nil {
		return "", fmt.Errorf("%s --version prints no version of Kubernetes: %.80q", program, out.Bytes())
	}
	return string(found[1]), nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
