package azuretest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// An Exchange is one request and its answer.
type Exchange struct {
	W http.ResponseWriter
	R *http.Request
	// Closed is closed when the stand-in is.
	Closed <-chan struct{}
}

// A Fault answers instead of a component. If it returns false, the component
// answers as usual.
type Fault func(*Exchange) bool

// Reply answers with a status, a body, and headers as pairs of name and value;
// a name may be there twice.
func Reply(status int, body string, headers ...string) Fault {
	return func(x *Exchange) bool {
		for i := 0; i+1 < len(headers); i += 2 {
			x.W.Header().Add(headers[i], headers[i+1])
		}
		x.W.WriteHeader(status)
		io.WriteString(x.W, body)
		return true
	}
}

// Refuse answers with a status and an error in JSON.
func Refuse(status int) Fault {
	return Reply(status, `{"error":"refused","error_description":"refused by the test"}`, "Content-Type", "application/json")
}

// Times uses f for the first n requests only.
func Times(n int64, f Fault) Fault {
	var seen atomic.Int64
	return func(x *Exchange) bool { return seen.Add(1) <= n && f(x) }
}

// Throttle answers 429, and asks the client to wait for some seconds.
func Throttle(seconds int) Fault {
	return Reply(http.StatusTooManyRequests, "{}", "Retry-After", fmt.Sprint(seconds))
}

// Hang never answers; it ends with the request or with the stand-in.
func Hang() Fault {
	return func(x *Exchange) bool {
		select {
		case <-x.R.Context().Done():
		case <-x.Closed:
		}
		// To return would be to answer 200, which a client that gives up
		// just then may still read.
		panic(http.ErrAbortHandler)
	}
}

// HTML answers 200 with a web page, as captive portals and proxies do.
func HTML() Fault {
	return Reply(http.StatusOK, "<!DOCTYPE html>\n<title>Sign in</title>\n", "Content-Type", "text/html")
}

// Endless answers with a status and a JSON string that never ends. With status
// 0, the header never ends.
func Endless(status int) Fault {
	return func(x *Exchange) bool {
		w, end := open(x, status)
		defer end()
		part := strings.Repeat("x", 32<<10)
		io.WriteString(w, `{"refresh_token":"`)
		for {
			if _, err := io.WriteString(w, part); err != nil {
				return true
			}
		}
	}
}

// Drip is [Endless], one byte at a time.
func Drip(status int) Fault {
	return func(x *Exchange) bool {
		w, end := open(x, status)
		defer end()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "x"); err != nil {
				return true
			}
			if w, ok := w.(http.Flusher); ok {
				w.Flush()
			}
			select {
			case <-tick.C:
				continue
			case <-x.R.Context().Done():
			case <-x.Closed:
			}
			panic(http.ErrAbortHandler) // see Hang
		}
	}
}

// open begins an answer of a status and returns where its body goes; with
// status 0, where its header goes.
func open(x *Exchange, status int) (w io.Writer, end func() error) {
	if status != 0 {
		x.W.WriteHeader(status)
		return x.W, func() error { return nil }
	}
	conn, _, err := http.NewResponseController(x.W).Hijack()
	if err != nil {
		panic(err) // all that is served here is HTTP/1.1
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: ")
	return conn, conn.Close
}

// Redirect answers 307 to the same path at another host.
func Redirect(host string) Fault {
	return func(x *Exchange) bool {
		http.Redirect(x.W, x.R, "https://"+host+x.R.URL.RequestURI(), http.StatusTemporaryRedirect)
		return true
	}
}

// Token answers a token exchange with this refresh token.
func Token(token string) Fault {
	return func(x *Exchange) bool {
		writeJSON(x.W, http.StatusOK, map[string]string{"refresh_token": token})
		return true
	}
}

// Echo answers with a status and an error message that repeats the form of the
// request, with all tokens.
func Echo(status int) Fault {
	return func(x *Exchange) bool {
		x.R.ParseForm()
		message := fmt.Sprint("cannot take ", x.R.Form)
		writeJSON(x.W, status, map[string]any{
			"error": message, "error_description": message,
			"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": message}},
		})
		return true
	}
}

// Challenge answers 401 with these Www-Authenticate headers, in which HOST
// means the registry's own host. Forms worth a test: none at all; two; "Basic",
// which has no space; `Bearer realm="https://HOST/oauth2/token",service=HOST`,
// whose last value has no quotes; a realm at another host.
func Challenge(headers ...string) Fault {
	return func(x *Exchange) bool {
		for _, h := range headers {
			x.W.Header().Add("Www-Authenticate", strings.ReplaceAll(h, "HOST", x.R.Host))
		}
		x.W.WriteHeader(http.StatusUnauthorized)
		return true
	}
}
