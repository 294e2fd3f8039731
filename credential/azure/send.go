package azure

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// userAgent identifies mirrorcred in requests.
const userAgent = "mirrorcred"

// mostTries is how often a request is sent before a 429 or 5xx counts as the answer.
const mostTries = 3

// mostAnswer is how much of an answer is read, in bytes.
const mostAnswer = 1 << 20

// A response is a response with its body, up to one byte more than mostAnswer.
type response struct {
	status int
	header http.Header
	body   []byte
	tries  int
}

// A request is a request to send, with its form if it has one.
type request struct {
	method, url string
	form        url.Values
}

// A sender sends the requests that no library sends.
type sender struct {
	client *http.Client
	opts   Options
}

// send sends a request until the answer is neither 429 nor 5xx, at most
// mostTries times and within ctx. The error is one line.
func (s sender) send(ctx context.Context, step step, r request) (response, error) {
	for try := 1; ; try++ {
		resp, err := s.sendOnce(ctx, r)
		if err != nil {
			return response{}, step.network(ctx, err)
		}
		resp.tries = try
		if !resp.busy() || try == mostTries {
			return resp, nil
		}
		pause, ok := retryAfter(resp.header.Get("Retry-After"))
		if !ok {
			pause = s.opts.RetryDelay << (try - 1)
		}
		// A pause longer than the step would only hide the answer.
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
			return resp, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return response{}, step.network(ctx, ctx.Err())
		}
	}
}

// busy reports whether the same request may succeed later.
func (r response) busy() bool {
	return r.status == http.StatusTooManyRequests || r.status >= 500
}

// retryAfter reads a Retry-After: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(text string) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(text)
	return time.Until(at), err == nil
}

func (s sender) sendOnce(ctx context.Context, r request) (response, error) {
	var body io.Reader
	if r.form != nil {
		body = strings.NewReader(r.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("User-Agent", userAgent)
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	return response{status: resp.StatusCode, header: resp.Header, body: content}, err
}
