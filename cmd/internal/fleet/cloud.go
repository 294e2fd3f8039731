package fleet

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Service is what a request is for.
type Service int

// The services that are counted.
const (
	Metadata Service = iota // the metadata services of all nodes
	Token                   // the registry's challenge and exchange
	Data                    // containerd's requests to the registry
	services
)

// A Request is one of the plugin's, as a cloud counts them.
type Request struct{ Host, Path string }

// IdentityHost stands for the metadata service, wherever it is.
const IdentityHost = "metadata service"

// A Reply is an answer in place of the usual one.
type Reply struct {
	Status     int
	RetryAfter string // "" for none
	Token      string // the refresh token, if Status is 200
}

// A Cloud is what the nodes ask. Its methods are safe for concurrent use.
type Cloud struct {
	// Replies are what some hosts answer to some paths.
	Replies map[Request]Reply

	limit int // of the registry's requests a minute; 0 for none
	start time.Time

	mu       sync.Mutex
	requests map[Request]int
	served   [services]series
	refused  series
	window   int // the minute that used is of
	used     int
}

// NewCloud returns a cloud that has a managed identity for each node and a registry
// under each name.
func NewCloud() *Cloud {
	return &Cloud{start: time.Now(), requests: map[Request]int{}, Replies: map[Request]Reply{}}
}

// Requests returns how many of the plugin's requests came.
func (c *Cloud) Requests() map[Request]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := map[Request]int{}
	for r, n := range c.requests {
		list[r] = n
	}
	return list
}

// arrive counts a request, and returns how long the client should wait before it asks
// again, 0 if it is served. The registry serves so many in each minute, and asks all
// others to come back at the next.
func (c *Cloud) arrive(s Service) (wait time.Duration) {
	since := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served[s].add(since)
	if c.limit == 0 || s == Metadata {
		return 0
	}
	if minute := int(since / time.Minute); minute != c.window {
		c.window, c.used = minute, 0
	}
	if c.used++; c.used <= c.limit {
		return 0
	}
	c.refused.add(since)
	return (time.Duration(c.window+1)*time.Minute - since).Truncate(time.Second) + time.Second
}

// latency is how long an answer takes.
const latency = 20 * time.Millisecond

// A wire carries the requests of one node's plugin.
type wire struct{ node *Node }

// RoundTrip implements [http.RoundTripper].
func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !sleep(r.Context(), latency) {
		return nil, r.Context().Err()
	}
	c := w.node.cloud
	asked, service := Request{r.URL.Host, r.URL.Path}, Token
	if r.URL.Path != "/v2/" && r.URL.Path != "/oauth2/exchange" {
		asked, service = Request{IdentityHost, ""}, Metadata
		w.node.asksMetadata()
	}
	c.mu.Lock()
	c.requests[asked]++
	c.mu.Unlock()
	wait := c.arrive(service)
	reply, isOdd := c.Replies[asked]
	switch {
	case isOdd && reply.Token != "":
		return respond(r, 200, `{"refresh_token":"`+reply.Token+`"}`), nil
	case isOdd:
		return respond(r, reply.Status, "{}", "Retry-After", reply.RetryAfter), nil
	case wait > 0:
		return respond(r, http.StatusTooManyRequests, "{}", "Retry-After", fmt.Sprint(int(wait/time.Second))), nil
	case service == Metadata:
		return respond(r, 200, fmt.Sprintf(`{"access_token":%q,"expires_in":"86400","expires_on":"%d","token_type":"Bearer"}`, jwt(24*time.Hour), time.Now().Add(24*time.Hour).Unix())), nil
	case r.URL.Path == "/v2/":
		return respond(r, 401, "{}", "Www-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%[1]s"`, r.URL.Host)), nil
	}
	return respond(r, 200, `{"refresh_token":"`+jwt(3*time.Hour)+`"}`), nil
}

// jwt returns a token that says when it expires.
func jwt(life time.Duration) string {
	claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(life).Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
}

func respond(r *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}
