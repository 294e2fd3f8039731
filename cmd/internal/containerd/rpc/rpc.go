// Package rpc asks a gRPC server on a Unix socket one question at a time.
//
// It does what asking containerd needs: net/http's HTTP/2 without TLS, the frame
// around a message, and the status after it. It has no streams, compression or
// balancing, which is why it is here: grpc-go with protobuf was a fifth of the program
// and of the watcher's memory. Messages are bytes here; see [Each] to read one. Start at
// [New].
package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	contentType = "application/grpc"
	headLength  = 5       // of a frame: a flag and the length of the message
	mostMessage = 4 << 20 // the limit of grpc-go's clients
	idleTime    = 10 * time.Second
)

// An Error is why a call has no answer.
type Error struct {
	Code    codes.Code
	Message string
}

// Error writes it as grpc-go does.
func (e *Error) Error() string {
	return fmt.Sprintf("rpc error: code = %s desc = %s", e.Code, e.Message)
}

func fault(code codes.Code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// A Conn is a way to a server. It connects when it is first asked. Close it.
type Conn struct {
	transport *http.Transport
}

// New returns a way to the server that dial connects to.
func New(dial func(context.Context) (net.Conn, error)) *Conn {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return &Conn{&http.Transport{
		Protocols:          &only,
		DisableCompression: true,
		IdleConnTimeout:    idleTime, // if a call was still ending when Close was called
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}

// Close ends the connections.
func (c *Conn) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// A Field is one of the request's own headers.
type Field struct{ Name, Value string }

// Call sends an encoded message to a method, such as "runtime.v1.RuntimeService/Status",
// and returns the answer's. The error is an [*Error].
func (c *Conn) Call(ctx context.Context, method string, message []byte, fields ...Field) ([]byte, error) {
	answer, err := c.call(ctx, method, message, fields)
	if err == nil {
		return answer, nil
	}
	// What fails at the end of ctx fails because of it.
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, &Error{codes.DeadlineExceeded, context.DeadlineExceeded.Error()}
	case ctx.Err() != nil:
		return nil, &Error{codes.Canceled, context.Canceled.Error()}
	}
	return nil, err
}

func (c *Conn) call(ctx context.Context, method string, message []byte, fields []Field) ([]byte, *Error) {
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://containerd/"+method, bytes.NewReader(append(frame, message...)))
	if err != nil {
		return nil, fault(codes.Internal, "%v", err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("TE", "trailers")
	request.Header.Set("User-Agent", "mirrorcred")
	if until, ok := ctx.Deadline(); ok {
		request.Header.Set("grpc-timeout", timeout(time.Until(until)))
	}
	for _, f := range fields {
		request.Header.Set(f.Name, f.Value)
	}
	// Not an http.Client, which would follow a redirect with the credential.
	answer, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, fault(codes.Unavailable, "connection error: %v", err)
	}
	defer answer.Body.Close()
	if fault := refused(answer); fault != nil {
		return nil, fault
	}
	return read(answer)
}

// timeout writes how long the server may take. The protocol allows eight digits.
func timeout(d time.Duration) string {
	const most = 99_999_999
	if ms := d.Milliseconds(); ms <= most {
		return strconv.FormatInt(max(ms, 1), 10) + "m"
	}
	return strconv.FormatInt(min(int64(d/time.Second), most), 10) + "S"
}

// refused returns the fault of an answer that no gRPC server gives.
func refused(answer *http.Response) *Error {
	if answer.StatusCode != http.StatusOK {
		return fault(codeOf(answer.StatusCode), "unexpected HTTP status code received from server: %s", answer.Status)
	}
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, contentType) {
		return fault(codes.Unknown, "unexpected content-type %q", kind)
	}
	return nil
}

// codeOf returns what an HTTP status means, by the table in grpc's
// doc/http-grpc-status-mapping.md.
func codeOf(status int) codes.Code {
	switch status {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	}
	return codes.Unknown
}

// read reads the message and the status after it. A server that has no message puts
// the status into the header.
func read(answer *http.Response) ([]byte, *Error) {
	const most = headLength + mostMessage
	data, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	switch {
	case err != nil:
		return nil, fault(codes.Unavailable, "error reading from server: %v", err)
	case len(data) > most:
		return nil, fault(codes.ResourceExhausted, "received message larger than max (%d)", mostMessage)
	}
	status := answer.Trailer
	if status.Get("grpc-status") == "" {
		status = answer.Header
	}
	if fault := statusIn(status); fault != nil {
		return nil, fault
	}
	if len(data) < headLength || data[0] != 0 || uint64(binary.BigEndian.Uint32(data[1:])) != uint64(len(data)-headLength) {
		return nil, fault(codes.Internal, "the answer is not one message")
	}
	return data[headLength:], nil
}

// statusIn returns the fault that a status reports, nil if it is OK.
func statusIn(h http.Header) *Error {
	text := h.Get("grpc-status")
	if text == "" {
		return fault(codes.Internal, "server closed the stream without sending trailers")
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fault(codes.Internal, "malformed grpc-status %q", text)
	}
	if codes.Code(code) == codes.OK {
		return nil
	}
	message := h.Get("grpc-message")
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	return &Error{codes.Code(code), message}
}
