// Package child runs another program for its output. It makes sure that the
// program ends in time, with all that it started, and that its output has a
// limit. A failure is one line without any known secret.
//
// It does not know what the program is asked, or what the answer means. Start
// at [Program].
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

const (
	// maxOutput bounds what a program may print: a credential is some
	// kilobytes.
	maxOutput = 1 << 20
	// maxComplaint is how much of the end of standard error is read.
	maxComplaint = 4 << 10
	// graceForPipes is how long the pipes of an ended program are still read: its
	// children may hold them open for ever.
	graceForPipes = 300 * time.Millisecond
)

// A Program is another program and how to run it.
type Program struct {
	Path  string   // absolute
	Args  []string // without the program's name
	Env   []string // NAME=value, added to the environment of this process
	Stdin []byte
	// Secrets are kept out of the error, wherever the program repeats them.
	Secrets []credential.Secret
	// ComplainsOnStdout says that a failing program may give the reason on
	// its standard output. JSON there is an answer and not repeated.
	ComplainsOnStdout bool
}

// Run runs the program and returns what it printed on standard output. When
// ctx ends, so do the program and what it started in its process group. The
// error is one line and begins with the program's path.
func (p Program) Run(ctx context.Context) ([]byte, error) {
	stdout, stderr := &tail{most: maxOutput, stop: true}, &tail{most: maxComplaint}
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdin = bytes.NewReader(p.Stdin)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = graceForPipes
	killGroup(cmd)

	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, p.notStarted(ctx, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case stdout.over:
		return nil, fmt.Errorf("%q printed more than %d bytes", p.Path, maxOutput)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		// With ErrWaitDelay the program succeeded, but a child of it holds a pipe:
		// the answer is still complete.
		return stdout.data, nil
	case ctx.Err() != nil:
		text := fmt.Sprintf("%q gave no answer in %s and was stopped", p.Path, time.Since(start).Round(100*time.Millisecond))
		return nil, &Failure{text, p.complaint(stderr.data, stdout.data)}
	case errors.As(err, &exit):
		said := stderr.data
		if p.ComplainsOnStdout && len(bytes.TrimSpace(said)) == 0 && !bytes.ContainsAny(stdout.data, "{[") {
			said = stdout.data
		}
		return nil, &Failure{fmt.Sprintf("%q: %s", p.Path, exit.ProcessState), p.complaint(said, stdout.data)}
	}
	return nil, fmt.Errorf("%q: %w", p.Path, err)
}

// A Failure is the error of a program that ran and failed.
type Failure struct {
	text      string // what happened, in mirrorcred's words
	complaint string // what the program printed about it
}

// Error says what happened, and what the program printed about it.
func (f *Failure) Error() string { return f.text + f.complaint }

// Brief says what happened, without the program's output: even text that does
// not look like a secret must not be stored.
func (f *Failure) Brief() string { return f.text }

// notStarted says what to do about a program that did not start.
func (p Program) notStarted(ctx context.Context, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	info, statErr := os.Stat(p.Path)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%q was not started: the time for it was over", p.Path)
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("%q does not exist; install it, or correct the path", p.Path)
	case statErr == nil && info.IsDir():
		return fmt.Errorf("%q is a directory; name the program in it", p.Path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q cannot be run: the interpreter or loader that it names does not exist; install that, or a build for this system", p.Path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%q cannot be run: %w; chmod 0755 %s, on a file system that is not mounted noexec", p.Path, err, p.Path)
	}
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("%q cannot be run: %w; install a build for this system", p.Path, err)
	}
	return fmt.Errorf("%q cannot be run: %w", p.Path, err) // too many open files, or processes
}

// A tail keeps the last bytes written to it. With stop it refuses further
// bytes, so that the writer's pipe is closed.
type tail struct {
	data []byte
	most int
	stop bool
	over bool
}

var errTooMuch = errors.New("too much output")

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) <= t.most {
		return len(p), nil
	}
	t.over = true
	t.data = append(t.data[:0], t.data[len(t.data)-t.most:]...)
	if t.stop {
		return 0, errTooMuch
	}
	return len(p), nil
}
