// Package plugin is the credential plugin that the kubelet executes: it joins
// the request, the flags and the files of the node to an answer.
//
// It answers by the routes that the manager wrote (--registry-mirror=@DIR), or
// as acr-credential-provider does by azure.json and a list of mirrors. What may
// be answered is decided in package credential, and how a credential is got in
// the packages below that one; here are only files and time.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// maxRequest bounds what is read from standard input; the kubelet's request is
// an image, a token and some annotations.
const maxRequest = 1 << 20

// Run reads one request from stdin and writes the response to stdout. The
// error is one line and holds no secret; nothing has been written then. stderr
// takes what does not stop an answer.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stdout)
	if err != nil || o.done {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	start := time.Now()
	var response credential.Response
	done := make(chan error, 1)
	go func() {
		var err error
		response, err = o.answer(ctx, stdin, stderr)
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		// Something did not listen, such as a read of standard input that
		// nobody ends. Give what does listen a moment to say why it stopped.
		select {
		case err = <-done:
		case <-time.After(time.Second):
			err = errors.New("no answer: still waiting for standard input or a file")
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w (given up after %s; the limit is --timeout=%s)", err, time.Since(start).Round(100*time.Millisecond), o.timeout)
		}
		return err
	}
	line, err := response.Encode()
	if err != nil {
		return err
	}
	_, err = stdout.Write(line)
	return err
}

// answer reads the request and answers it.
func (o options) answer(ctx context.Context, stdin io.Reader, stderr io.Writer) (credential.Response, error) {
	data, err := io.ReadAll(io.LimitReader(stdin, maxRequest+1))
	if err != nil {
		return credential.Response{}, fmt.Errorf("read the request from standard input: %w", err)
	}
	if len(data) > maxRequest {
		return credential.Response{}, fmt.Errorf("the request on standard input is longer than %d bytes", maxRequest)
	}
	request, err := credential.DecodeRequest(data)
	if err != nil {
		return credential.Response{}, err
	}
	n := node{root: o.root, request: request}
	if o.routes != "" {
		return n.byRoutes(ctx, o.routes, stderr)
	}
	return n.byFlags(ctx, o, stderr)
}

// A node is what the plugin sees of the machine during one run.
type node struct {
	root    string // all paths are below it; "" for the machine's own
	request credential.Request
}

func (n node) path(parts ...string) string {
	return filepath.Join(append([]string{n.root, "/"}, parts...)...)
}

// readFile reads a file of the node; its error names the file once.
func (n node) readFile(parts ...string) ([]byte, error) {
	return os.ReadFile(n.path(parts...))
}
