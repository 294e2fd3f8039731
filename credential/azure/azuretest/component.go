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

// A Request is what a component was asked, as it came off the wire.
type Request struct {
	Method string
	// URL has the scheme and host that the client meant.
	URL    string
	Header http.Header
	// Form is the body where that is a form, else nil.
	Form url.Values
}

// A Component is one service of the stand-in: it records, and it can be told
// to go wrong.
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

// Fail makes the component answer path (as "/oauth2/exchange"; "" for every
// path) with f from now on, in place of an earlier fault of that path.
func (c *Component) Fail(path string, f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[path] = f
}

// Mend takes all faults away.
func (c *Component) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.faults)
}

// Requests returns what was asked since the start or the last Forget, in
// order of arrival.
func (c *Component) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Forget empties the record.
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
