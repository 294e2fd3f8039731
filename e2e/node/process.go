// Package node starts the daemons of a Kubernetes node inside a box: a
// containerd of any version and a kubelet without an API server, at the paths
// where a node has them, each with its log in a file, and a systemd for units
// of the test's. It waits for them by asking them.
//
// It knows nothing of mirrors and credentials. Start at [StartContainerd].
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process is a running daemon.
type process struct {
	name string
	log  string // path of the file with its output
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // what Wait said, once done is closed
}

// start starts a daemon whose output goes to log. env is added to its
// environment.
func start(log string, env []string, path string, args ...string) (*process, error) {
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), env...)
	return run(log, c)
}

// run starts a command whose output goes to log.
func run(log string, c *exec.Cmd) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &process{name: filepath.Base(c.Path), log: log, cmd: c, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = file, file
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// A Daemon is a running program that this package knows nothing else of.
type Daemon struct{ *process }

// StartDaemon starts a program and waits until probe has no error.
func StartDaemon(ctx context.Context, probe func(context.Context) error, path string, args ...string) (*Daemon, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	p, err := start(filepath.Join(logs, filepath.Base(path)+".log"), nil, path, args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.ready(ctx, probe); err != nil {
		p.stop()
		return nil, err
	}
	return &Daemon{p}, nil
}

// Stop ends the program and waits for it; a second Stop does nothing.
func (d *Daemon) Stop() { d.stop() }

// stop ends the daemon, by force when it takes more than some seconds. One that
// has ended is left alone.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// ready waits until probe has no error, and fails when ctx or the daemon ends
// first.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%v) before it was ready\n%s", p.name, p.err, p.Tail(20))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.Tail(20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Tail returns the last lines of the daemon's log.
func (p *process) Tail(lines int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return fmt.Sprintf("--- %s, the end of its log:\n%s\n", p.name, strings.Join(all[max(0, len(all)-lines):], "\n"))
}

// Log returns all that the daemon has written.
func (p *process) Log() string {
	data, _ := os.ReadFile(p.log)
	return string(data)
}

// Until waits until probe has no error. It fails with probe's last error when
// ctx ends.
func Until(ctx context.Context, probe func() error) error {
	for {
		err := probe()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
