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
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tokens"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
)

// maxRead bounds, in bytes, what is read from standard input and from a file.
// The largest is a request with a token and annotations, of some KiB.
const maxRead = 1 << 20

// Run reads one request from stdin and writes the response to stdout. args are
// those of the process, its name first. It returns the exit code: 0, or 1 where
// one line on stderr says why, which holds no secret; nothing has been written to
// stdout then. stderr also takes what does not stop an answer.
//
// A read of standard input, or of a file on a dead mount, hears of no end. Where
// the time is up in the middle of one, exit ends the process from another
// goroutine, with the code that Run would have returned: to have each step on a
// goroutine of its own would be a tenth of a run that fetches nothing.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, exit func(code int)) int {
	r := run{name: filepath.Base(args[0]), started: time.Now(), stdout: stdout, stderr: stderr, exit: exit}
	var err error
	if r.options, err = parseFlags(args[1:], stdout); err != nil || r.options.done {
		return r.say(oneLine(err))
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.timeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.node = newNode(r.options)
	r.node.stop = stop
	context.AfterFunc(ctx, func() { r.giveUp(ctx) })
	line, err := r.node.respond(ctx, r.options, stdin)
	if !r.node.end() {
		select {} // it was given up, and the process is about to end
	}
	return r.over(ctx, line, err)
}

// A run is one run of the program.
type run struct {
	name           string
	options        options
	started        time.Time
	stdout, stderr io.Writer
	exit           func(code int)
	node           *node
}

// say writes why a run fails, if it does, and returns its exit code.
func (r run) say(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(r.stderr, "%s: %v\n", r.name, err)
	return 1
}

// over ends a run: with a response, or with an error.
func (r run) over(ctx context.Context, line []byte, err error) int {
	n := r.node
	if n.tokens != nil {
		n.notes = append(n.notes, n.tokens.Notes()...)
	}
	if err != nil {
		// The notes go into the same line: the kubelet shows one error, and
		// what was left out may be why it came to this.
		err = oneLine(append([]error{r.options.explain(ctx, err, time.Since(r.started))}, n.notes...)...)
	} else {
		for _, note := range n.notes {
			fmt.Fprintln(r.stderr, oneLine(note))
		}
		_, err = r.stdout.Write(line)
	}
	code := r.say(err)
	// A disk that hangs keeps nobody from pulling.
	hung := time.AfterFunc(auditLimit, func() { r.exit(code) })
	defer hung.Stop()
	n.write(ctx, r.options, r.started, err)
	return code
}

// giveUp ends the process where ctx has ended in the middle of what does not
// listen to it. All other steps end by themselves, with a better reason.
func (r run) giveUp(ctx context.Context) {
	for {
		what, over := r.node.inMiddleOf()
		switch {
		case over:
			return
		case what != "":
			r.exit(r.over(ctx, nil, fmt.Errorf("waited for %s", what)))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// explain adds to an error that the run was out of time, or was told to stop.
func (o options) explain(ctx context.Context, err error, took time.Duration) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w (given up after %s, by --timeout=%s)", err, took.Round(time.Millisecond), o.timeout)
	}
	return fmt.Errorf("%w (told to stop: %w)", err, context.Cause(ctx))
}

// oneLine joins errors into one of a single line; nil where there are none.
func oneLine(errs ...error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " "))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// A node is what the plugin sees of the machine during one run.
type node struct {
	root     string                                // all paths are below it; "" for the machine's own
	provider struct{ credential, audience string } // as in options
	tokens   *tokens.Cache                         // nil for none
	journal  journal
	stop     context.CancelCauseFunc // ends the run
	settle   sync.Once
	waits    waits
	once     sync.Mutex
	files    map[string][]byte // what readOnce has read, by path
	// request is behind a pointer since fmt calls no method on an unexported
	// field: it would print the token in it.
	request *credential.Request
	notes   []error // what did not stop the answer
	azure   azure.Options

	mu      sync.Mutex
	sources map[string]*azure.Source // by the name of the credential
}

func newNode(o options) *node {
	n := &node{root: o.root}
	n.provider.credential, n.provider.audience = o.credential, o.audience
	// By flags, the kubelet keeps the answers.
	if o.routes != "" && o.tokenCache != "" {
		n.tokens = tokens.New(tokens.Options{Dir: n.path(o.tokenCache)})
	}
	return n
}

// settleIn makes ready for a run that takes time, once: for SIGTERM and an
// interrupt, so that the line says what it was in the middle of, and for the few
// MiB that it allocates, of which to look for garbage would take more memory than
// it gives back; the limit is for a run that goes wrong. Both are kept from the
// runs that fetch nothing, of which they would take a quarter of the time.
func (n *node) settleIn() {
	n.settle.Do(func() {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(32 << 20)
		told := make(chan os.Signal, 1)
		signal.Notify(told, os.Interrupt, syscall.SIGTERM)
		go func() { n.stop(fmt.Errorf("%v signal received", <-told)) }()
	})
}

// respond reads the request and returns the line that answers it.
func (n *node) respond(ctx context.Context, o options, stdin io.Reader) ([]byte, error) {
	data, err := await(n, "standard input to end; the kubelet closes it after the request", func() ([]byte, error) {
		return readAll(stdin, "the request on standard input")
	})
	if err != nil {
		return nil, err
	}
	request, err := credential.DecodeRequest(data)
	if err != nil {
		return nil, err
	}
	n.request = &request
	n.azure = azure.Options{
		ReadFile: n.readFileWithin,
		Binding:  o.binding,
		ClientID: o.bindings.clientID,
		TenantID: o.bindings.tenantID,
	}
	answer := n.byFlags
	if o.routes != "" {
		answer = n.byRoutes
	}
	response, err := answer(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, c := range response.Auth {
		n.journal.answered = n.journal.answered || !c.Anonymous()
	}
	return response.Encode()
}

// waits are what a run is in the middle of and cannot leave.
type waits struct {
	mu    sync.Mutex
	what  string
	ended bool // by respond, or by giveUp
}

// await returns what f returns, which does not listen to a context and is called
// by the goroutine that runs respond; see [Run] for what comes of it where it
// hangs. What is got by other goroutines is for [within].
func await[T any](n *node, what string, f func() (T, error)) (T, error) {
	n.setWait(what)
	defer n.setWait("")
	return f()
}

func (n *node) setWait(what string) {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	n.waits.what = what
}

// end claims the end of the run, and reports whether nobody else has.
func (n *node) end() bool {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	first := !n.waits.ended
	n.waits.ended = true
	return first
}

// inMiddleOf returns what the run cannot leave, "" for nothing, and claims its
// end then. over says that the end was claimed before.
func (n *node) inMiddleOf() (what string, over bool) {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	if n.waits.ended {
		return "", true
	}
	n.waits.ended = n.waits.what != ""
	return n.waits.what, false
}

// within returns what f returns, or that it was waited for in vain where ctx
// ends first. It is for reading files on the way to a credential, of which there
// may be several; f is then left behind.
func within[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("waited for %s", what)
	}
}

// readAll reads up to maxRead bytes, and takes more for an error.
func readAll(r io.Reader, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRead+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(data) > maxRead:
		return nil, fmt.Errorf("%s is longer than %d bytes", what, maxRead)
	}
	return data, nil
}

// path returns where a path of the node is. Only below another root is a
// relative one taken from there.
func (n *node) path(parts ...string) string {
	if n.root == "" {
		return filepath.Join(parts...)
	}
	return filepath.Join(append([]string{n.root}, parts...)...)
}

// readFile reads a regular file of the node; its error names the file once.
func (n *node) readFile(parts ...string) ([]byte, error) {
	path := n.path(parts...)
	// Without O_NONBLOCK a named pipe would be waited for right here.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return readAll(f, path)
}

// readFileWithin is readFile for a file that somebody else names.
func (n *node) readFileWithin(ctx context.Context, path string) ([]byte, error) {
	return within(ctx, path+"; look for a dead mount", func() ([]byte, error) { return n.readFile(path) })
}
