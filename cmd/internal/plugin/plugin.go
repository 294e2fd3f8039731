// Package plugin is the credential plugin that the kubelet runs: it makes an
// answer from the request, the flags and the files of the node.
//
// It answers by the routes that the manager wrote (--registry-mirror=@DIR), or,
// as acr-credential-provider does, by azure.json and a list of mirrors. Package
// route decides what it may return, and the packages below credential get the
// credentials; this package only adds files and time. Start at [Run].
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

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tokens"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Run reads one request from stdin and writes the response to stdout. args are
// those of the process, its name first. It returns the exit code: 0, or 1 after
// one line on stderr that says why and holds no secret; then stdout is empty.
// Notes that do not stop an answer also go to stderr.
//
// A read from standard input, or from a dead mount, cannot be interrupted. If
// the time is up during one, exit ends the process from another goroutine, with
// the code that Run would have returned. A goroutine for each step would take a
// tenth of a run that fetches nothing.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, exit func(code int)) int {
	r := run{name: filepath.Base(args[0]), started: time.Now(), stdout: stdout, stderr: stderr, exit: exit}
	err := checkRoom()
	if err != nil {
		return r.say(oneLine(err))
	}
	if r.options, err = parseFlags(args[1:], stdout); r.options.done {
		return r.say(oneLine(err))
	}
	if isTerminal(stdin) {
		return r.say(errTerminal)
	}
	if err != nil {
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
		select {} // the run was given up, and the process is about to end
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

// say prints why a run fails, if it does, and returns its exit code.
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
	n.journal.code = n.codeOf(ctx, err)
	if err != nil {
		// The notes go into the same line: the kubelet shows one error, and what was
		// left out may be the cause.
		err = oneLine(append([]error{withLimit(r.options.explain(ctx, err, time.Since(r.started)))}, n.notes...)...)
	} else {
		for _, note := range n.notes {
			fmt.Fprintln(r.stderr, oneLine(note))
		}
		_, err = r.stdout.Write(line)
	}
	code := r.say(err)
	// A hanging disk must not block a pull.
	hung := time.AfterFunc(auditLimit, func() { r.exit(code) })
	defer hung.Stop()
	n.write(ctx, r.options, r.started, err)
	return code
}

// giveUp ends the process if ctx ends during a step that cannot be interrupted.
// All other steps end by themselves, with a better reason.
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

// explain adds to an error that the run ran out of time, or was told to stop.
func (o options) explain(ctx context.Context, err error, took time.Duration) error {
	switch {
	case ctx.Err() == nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w (given up after %s, by --timeout=%s)", err, took.Round(time.Millisecond), o.timeout)
	}
	return fmt.Errorf("%w (told to stop: %w)", err, context.Cause(ctx))
}

// oneLine joins errors into one on a single line; nil if there are none.
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

// A node is what the plugin sees of the machine in one run.
type node struct {
	root     string                                // all paths are below it; "" for the machine's own
	tree     *input.Root                           // the same, which no link leaves
	provider struct{ credential, audience string } // as in options
	tokens   *tokens.Cache                         // nil for none
	journal  journal
	stop     context.CancelCauseFunc // ends the run
	settle   sync.Once
	waits    waits
	once     sync.Mutex
	files    map[string][]byte // what readOnce has read, by path
	// request is a pointer because fmt calls no method of an unexported field: it
	// would print the token.
	request *credential.Request
	notes   []error // what did not stop the answer
	azure   azure.Options

	mu      sync.Mutex
	sources map[string]credential.Source // of Azure credentials, by their name
}

func newNode(o options) *node {
	n := &node{root: o.root, tree: input.NewRoot(o.root)}
	n.provider.credential, n.provider.audience = o.credential, o.audience
	// Without routes, the kubelet caches the answers.
	if o.routes != "" && o.tokenCache != "" {
		// Without the root there is no route either. The cache itself refuses a link
		// in place of its directory.
		path := n.path(o.tokenCache)
		if parent, err := n.tree.Resolve(filepath.Dir(path)); err == nil {
			n.tokens = tokens.New(tokens.Options{Dir: filepath.Join(parent, filepath.Base(path))})
		}
	}
	return n
}

// settleIn prepares once for a run that takes time. It handles SIGTERM and
// interrupts, so that the error says what was in progress. It also turns off
// garbage collection, which for a few MiB would take more memory than it frees;
// the limit is for a run that goes wrong. Runs that fetch nothing skip both,
// which would take a quarter of their time.
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
		return nil, withCode(audit.BadRequest, err)
	}
	request, err := credential.DecodeRequest(data)
	if err != nil {
		return nil, withCode(audit.BadRequest, err)
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
