package azuretest

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// A Request is what a component got from the network.
type Request struct {
	Method string
	// URL has the scheme and host that the client meant.
	URL    string
	Header http.Header
	// Form is the body if that is a form, otherwise nil.
	Form url.Values
}

// A Component is one service of the stand-in. It records its requests, and can
// be told to fail.
type Component struct {
	next   http.Handler
	closed <-chan struct{}

	mu       sync.Mutex
	requests []Request
	faults   map[string]Fault
}

func (c *Cloud) component(next http.Handler) *Component {
	return &Component{next: next, closed: c.closed, faults: map[string]Fault{}}
}

// Fail makes the component answer path with f from now on, instead of an
// earlier fault of that path. path is such as "/oauth2/exchange"; "" means
// every path.
func (c *Component) Fail(path string, f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[path] = f
}

// Repair removes all faults.
func (c *Component) Repair() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.faults)
}

// Requests returns the requests since the start or the last [Component.Forget],
// in the order in which they came.
func (c *Component) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Forget deletes the recorded requests.
func (c *Component) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = nil
}

// ServeHTTP implements [http.Handler].
func (c *Component) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := c.record(r)
	if fault != nil && fault(&Exchange{w, r, c.closed}) {
		return
	}
	c.next.ServeHTTP(w, r)
}

// record keeps r and returns the fault for it, or nil.
func (c *Component) record(r *http.Request) Fault {
	seen := Request{Method: r.Method, URL: requestURL(r), Header: r.Header.Clone()}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen.Form, _ = url.ParseQuery(string(body))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, seen)
	if f := c.faults[r.URL.Path]; f != nil {
		return f
	}
	return c.faults[""]
}

// requestURL returns the URL the client asked for; CONNECT has but a host.
func requestURL(r *http.Request) string {
	if r.Method == http.MethodConnect {
		return r.Host
	}
	u := *r.URL
	u.Host = r.Host
	if u.Scheme == "" {
		u.Scheme = "http"
		if r.TLS != nil {
			u.Scheme = "https"
		}
	}
	return u.String()
}
