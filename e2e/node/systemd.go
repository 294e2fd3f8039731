package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/box"
)

// unitDir is where a node's own units are.
const unitDir = "/etc/systemd/system"

// A Systemd is a running systemd, the service manager of the node. It has the
// units that [WriteUnit] and [WritePackageUnit] wrote and no others.
type Systemd struct{ *process }

// StartSystemd starts systemd with nothing but what every service is ordered
// by, and waits until it is ready for more units.
func StartSystemd(ctx context.Context) (*Systemd, error) {
	for _, dir := range []string{unitDir, logs, "/run/systemd"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := clean(unitDir, box.Units, "/run/systemd"); err != nil {
		return nil, err
	}
	for _, target := range []string{"default", "sysinit", "basic", "shutdown", "local-fs", "multi-user"} {
		if err := WriteUnit(target+".target", "[Unit]\nDefaultDependencies=no\n"); err != nil {
			return nil, err
		}
	}
	p, err := run(filepath.Join(logs, "systemd.log"), box.Systemd(unitDir))
	if err != nil {
		return nil, err
	}
	s := &Systemd{p}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = p.ready(ctx, func(ctx context.Context) error {
		_, err := s.Control(ctx, "is-active", "default.target")
		return err
	})
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// WriteUnit writes a unit, or a drop-in named as in "a.service.d/b.conf".
func WriteUnit(name, text string) error { return writeUnit(unitDir, name, text) }

// WritePackageUnit is [WriteUnit] for a unit of a package.
func WritePackageUnit(name, text string) error { return writeUnit(box.Units, name, text) }

func writeUnit(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// Control runs systemctl, where systemd takes it for a process of its own
// machine, and returns what it printed.
func (s *Systemd) Control(ctx context.Context, args ...string) (string, error) {
	out, err := s.Command(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// Command returns a command that runs a program as a process of systemd's own
// machine.
func (s *Systemd) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	into := []string{"--target=" + strconv.Itoa(s.cmd.Process.Pid), "--pid", "--mount", program}
	return exec.CommandContext(ctx, "nsenter", append(into, args...)...)
}

// Stop ends systemd and all that it started.
func (s *Systemd) Stop() {
	s.cmd.Process.Kill()
	<-s.done
}
