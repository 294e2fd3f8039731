// Package provider runs credential providers as the kubelet does: each one that matches
// an image, with the arguments and environment in the kubelet's configuration, and the
// same request on standard input.
//
// It knows neither the mirror map nor what a provider should return. Its errors have no
// part of a response. Start at [Runner.Request].
package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// limit is when the kubelet ends a provider (Kubernetes v1.37.0,
// pkg/credentialprovider/plugin/plugin.go).
const limit = time.Minute

// pipes is how long the pipes of a provider are read after it has ended. A process that
// it left running may hold them open.
const pipes = time.Second

// ErrUnusable is wrapped by the error of a provider that cannot be run, or that returns
// what the kubelet refuses: running it again does not help.
var ErrUnusable = errors.New("the kubelet cannot use it")

// ErrNeedsPod is the error of a provider that the kubelet runs only for pods with a
// service account. It is not run here.
var ErrNeedsPod = errors.New("the kubelet runs it only for pods with a service account")

// An unusable is such an error, with a text of its own.
type unusable struct{ error }

func (unusable) Is(target error) bool { return target == ErrUnusable }

// A Runner runs the providers of one node.
type Runner struct {
	// Root is the directory that the node's paths are below, "" for the machine
	// itself.
	Root string
	// BinDir is the kubelet's directory of providers.
	BinDir string
	// Env is the kubelet's environment; nil means that of this process.
	Env []string
}

// An Answer is what one provider returned.
type Answer struct {
	Provider string
	Auth     map[string]credential.Credential
	// Err says why it returned nothing, on one line.
	Err error
}

// Read returns the providers of the kubelet's configuration, a file or a directory below
// the root. A fault that prevents the kubelet from starting is an error; the providers
// that can be read are returned with it.
func Read(root *input.Root, path string) ([]kubeletconfig.Entry, error) {
	info, err := root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist, so the kubelet runs no provider by it", path)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		data, err := root.ReadFile(path, 0)
		if err != nil {
			return nil, err
		}
		return kubeletconfig.Read(kubeletconfig.File{Name: path, Data: data})
	}
	entries, err := root.ReadDir(path)
	if err != nil {
		return nil, err
	}
	dir := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if dir[e.Name()], err = root.ReadFile(filepath.Join(path, e.Name()), 0); err != nil {
			return nil, err
		}
	}
	return kubeletconfig.Read(kubeletconfig.Files(dir)...)
}

// Match returns the first pattern of a provider that matches an image, and false
// if the kubelet does not run it for that image.
func Match(entry kubeletconfig.Entry, image mirror.Image) (string, bool) {
	for _, text := range entry.MatchImages {
		if p, err := mirror.KubeletPattern(text); err == nil && p.Matches(image.Name()) {
			return text, true
		}
	}
	return "", false
}

// Request runs the providers that match an image, one after the other, as for a pod
// without a service account, and returns their answers in the order of the
// configuration.
func (r Runner) Request(ctx context.Context, entries []kubeletconfig.Entry, image mirror.Image) []Answer {
	var answers []Answer
	for _, entry := range entries {
		if _, ok := Match(entry, image); !ok {
			continue
		}
		if entry.NeedsPod() {
			answers = append(answers, Answer{Provider: entry.Name, Err: ErrNeedsPod})
			continue
		}
		response, err := r.Run(ctx, entry, image)
		answers = append(answers, Answer{entry.Name, response.Auth, err})
	}
	return answers
}

// Run runs one provider. It ends after a minute, as the kubelet ends it. The error
// is one line: the first that the provider wrote to standard error.
func (r Runner) Run(ctx context.Context, entry kubeletconfig.Entry, image mirror.Image) (credential.Response, error) {
	request, err := credential.Request{Image: image.Name()}.Encode()
	if err != nil {
		return credential.Response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := entry.Args
	if r.Root != "" && entry.Routes() != "" {
		args = append(args[:len(args):len(args)], "--root="+r.Root)
	}
	program := filepath.Join(r.Root, "/", r.BinDir, entry.Name)
	if err := untrusted(program); err != nil {
		return credential.Response{}, unusable{err}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = r.Env
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = cmd.Env[:len(cmd.Env):len(cmd.Env)]
	for _, e := range entry.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	stdout, stderr := &bounded{}, &bounded{drop: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(request), stdout, stderr, pipes
	switch err := cmd.Run(); {
	case len(stdout.data) == maxOutput:
		return credential.Response{}, unusable{errTooMuch}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return credential.Response{}, reason(ctx, err, string(stderr.data))
	}
	response, err := credential.DecodeResponse(stdout.data)
	if err != nil {
		return credential.Response{}, unusable{fmt.Errorf("the kubelet refuses its answer: %w", err)}
	}
	return response, nil
}

// reason returns why a provider failed: its own message if it has one.
func reason(ctx context.Context, err error, stderr string) error {
	first, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	var code *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("it did not answer in time: %w", ctx.Err())
	case errors.As(err, &code) && first != "":
		return errors.New(OneLine(first))
	case errors.As(err, &code):
		return err
	}
	return unusable{err}
}

// OneLine returns another program's text as one line without control characters, so that
// it is safe to print on a terminal.
func OneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
