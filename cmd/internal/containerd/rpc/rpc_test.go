package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const statusMethod = "runtime.v1.RuntimeService/Status"

// A server answers the CRI's Status as it is told.
type server struct {
	cri.UnimplementedRuntimeServiceServer
	answer func(ctx context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error)
}

func (s server) Status(ctx context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error) {
	return s.answer(ctx, r)
}

// listen has grpc-go's server answer on a socket.
func listen(t *testing.T, answer func(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error)) (socket string) {
	t.Helper()
	socket, listener := open(t)
	g := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	cri.RegisterRuntimeServiceServer(g, server{answer: answer})
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	return socket
}

func open(t *testing.T) (socket string, listener net.Listener) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return socket, listener
}

// to returns a way to a socket.
func to(t *testing.T, socket string) *Conn {
	c := New(func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) })
	t.Cleanup(func() { c.Close() })
	return c
}

// TestStatus has a server of grpc-go answer with each code and each kind of text, and
// grpc-go's own client say what is to come of it.
func TestStatus(t *testing.T) {
	var next atomic.Pointer[status.Status]
	socket := listen(t, func(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
		return &cri.StatusResponse{Info: map[string]string{"config": "x"}}, next.Load().Err()
	})
	theirs, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours := to(t, socket)
	for code := codes.OK; code <= codes.Unauthenticated+1; code++ {
		for _, text := range []string{"", "plain", "100%", "%41", "50%zz", "a\nb\x00", "ä \u2028", "https://x/v2/?a=b+c"} {
			next.Store(status.New(code, text))
			_, err := cri.NewRuntimeServiceClient(theirs).Status(t.Context(), &cri.StatusRequest{})
			want := status.Convert(err)
			answer, err := ours.Call(t.Context(), statusMethod, nil)
			got := &Error{}
			if err != nil && !errors.As(err, &got) {
				t.Fatalf("code %d: Call = %v; want an *Error", code, err)
			}
			if got.Code != want.Code() || got.Message != want.Message() || (len(answer) > 0) != (code == codes.OK) {
				t.Errorf("code %d, text %q: %v, %d bytes; grpc-go: %v", code, text, got, len(answer), want)
			}
			if err != nil && err.Error() != want.Err().Error() {
				t.Errorf("code %d, text %q: the error is %q; grpc-go: %q", code, text, err, want.Err())
			}
		}
	}
}

// TestRequest has a server say what reaches it.
func TestRequest(t *testing.T) {
	socket := listen(t, func(ctx context.Context, r *cri.StatusRequest) (*cri.StatusResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		until, limited := ctx.Deadline()
		if !r.Verbose || strings.Join(md.Get("containerd-namespace"), ",") != "k8s.io" || !limited || time.Until(until) > time.Minute || time.Until(until) < 30*time.Second {
			return nil, status.Errorf(codes.Internal, "%v, %v, %s", r, md, time.Until(until))
		}
		return &cri.StatusResponse{}, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := to(t, socket).Call(ctx, statusMethod, True(1), Field{"containerd-namespace", "k8s.io"})
	if err != nil || len(answer) != 0 {
		t.Errorf("Call = %q, %v", answer, err)
	}
}

// TestEnds ends the context while the server works, and holds that the server is told.
func TestEnds(t *testing.T) {
	began, ended := make(chan bool, 1), make(chan bool, 1)
	socket := listen(t, func(ctx context.Context, _ *cri.StatusRequest) (*cri.StatusResponse, error) {
		began <- true
		<-ctx.Done()
		ended <- true
		return nil, ctx.Err()
	})
	conn := to(t, socket)
	for _, test := range []struct {
		with func(context.Context) (context.Context, context.CancelFunc)
		want codes.Code
	}{
		{func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 100*time.Millisecond)
		}, codes.DeadlineExceeded},
		{context.WithCancel, codes.Canceled},
	} {
		ctx, cancel := test.with(t.Context())
		go func() {
			<-began
			if test.want == codes.Canceled {
				cancel()
			}
		}()
		_, err := conn.Call(ctx, statusMethod, nil)
		cancel()
		if fault := (*Error)(nil); !errors.As(err, &fault) || fault.Code != test.want {
			t.Errorf("Call = %v; want %s", err, test.want)
		}
		<-ended
	}
}

// TestClose holds that nothing stays open.
func TestClose(t *testing.T) {
	socket, listener := open(t)
	closed := make(chan error, 1)
	conn := to(t, socket)
	g := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(g, server{answer: func(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
		return &cri.StatusResponse{}, nil
	}})
	go func() { _ = g.Serve(watched{listener, closed}) }()
	defer g.Stop()
	if _, err := conn.Call(t.Context(), statusMethod, nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-closed:
	case <-time.After(idleTime / 2):
		t.Error("the connection stays open after Close")
	}
}

// A watched listener reports the end of each connection.
type watched struct {
	net.Listener
	closed chan error
}

func (w watched) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	return reader{conn, w.closed}, err
}

type reader struct {
	net.Conn
	closed chan error
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if err != nil {
		select {
		case r.closed <- err:
		default:
		}
	}
	return n, err
}

// TestNoServer asks what is no gRPC server, or a broken one.
func TestNoServer(t *testing.T) {
	frame := func(s string) string { return "\x00\x00\x00\x00" + string(rune(len(s))) + s }
	web := func(handle func(http.ResponseWriter)) func(net.Listener) {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		s := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { handle(w) })}
		return func(l net.Listener) { _ = s.Serve(l) }
	}
	answers := func(body string, trailers ...string) func(net.Listener) {
		return web(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body)
			for i := 0; i+1 < len(trailers); i += 2 {
				w.Header().Set(http.TrailerPrefix+trailers[i], trailers[i+1])
			}
		})
	}
	ok := []string{"Grpc-Status", "0"}
	for name, test := range map[string]struct {
		serve func(net.Listener)
		code  codes.Code
		want  string
	}{
		"speaks HTTP/1":     {func(l net.Listener) { _ = http.Serve(l, http.NotFoundHandler()) }, codes.Unavailable, "connection error: "},
		"closes":            {func(l net.Listener) { c, _ := l.Accept(); c.Close(); l.Close() }, codes.Unavailable, "connection error: "},
		"not found":         {web(func(w http.ResponseWriter) { w.WriteHeader(404) }), codes.Unimplemented, "unexpected HTTP status code received from server: 404"},
		"overloaded":        {web(func(w http.ResponseWriter) { w.WriteHeader(503) }), codes.Unavailable, "503"},
		"redirects":         {web(func(w http.ResponseWriter) { w.Header().Set("Location", "http://x/"); w.WriteHeader(307) }), codes.Unknown, "307"},
		"a page":            {web(func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<!DOCTYPE html>") }), codes.Unknown, `unexpected content-type "text/html; charset=utf-8"`},
		"no status":         {answers(frame("abc")), codes.Internal, "without sending trailers"},
		"a word for status": {answers(frame("abc"), "Grpc-Status", "fine"), codes.Internal, `malformed grpc-status "fine"`},
		"no message":        {answers("", ok...), codes.Internal, "not one message"},
		"cut off":           {answers(frame("abc")[:6], ok...), codes.Internal, "not one message"},
		"two messages":      {answers(frame("abc")+frame("d"), ok...), codes.Internal, "not one message"},
		"compressed":        {answers("\x01"+frame("abc")[1:], ok...), codes.Internal, "not one message"},
		"has no end":        {answers(strings.Repeat("\x00", 2*mostMessage), ok...), codes.ResourceExhausted, "larger than max (4194304)"},
		"stops": {web(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, frame("abc")[:6])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), codes.Unavailable, "error reading from server: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, listener := open(t)
			go test.serve(listener)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			answer, err := to(t, socket).Call(ctx, statusMethod, nil)
			var fault *Error
			if !errors.As(err, &fault) || fault.Code != test.code || !strings.Contains(fault.Message, test.want) {
				t.Errorf("Call = %q, %v; want %s: %q", answer, err, test.code, test.want)
			}
		})
	}
	_, err := to(t, filepath.Join(t.TempDir(), "none")).Call(t.Context(), statusMethod, nil)
	if fault := (*Error)(nil); !errors.As(err, &fault) || fault.Code != codes.Unavailable || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Call without a socket = %v", err)
	}
}

// TestTimeout holds that no duration takes more than the eight digits of the protocol.
func TestTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "1m", 0: "1m", time.Microsecond: "1m", 5 * time.Second: "5000m", 24 * time.Hour: "86400000m", 48 * time.Hour: "172800S", 1<<63 - 1: "99999999S",
	} {
		if got := timeout(d); got != want {
			t.Errorf("timeout(%s) = %s; want %s", d, got, want)
		}
	}
}
