package grid

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A world is the registries that one puller can reach. It plays one case after
// the other: each party does what the case says while it is played.
type world struct {
	servers map[Party]*httptest.Server
	closed  string // a port that refuses connections
	release func() // ends that
	mu      sync.Mutex
	play    map[Party]http.HandlerFunc
	out     Outcome
	served  []string // the parties that gave an object
}

// names are the parties' host names. All names lead to each party; its port is
// its own.
var names = map[Party]string{
	Mirror: "mirror.example", Realm: "realm.example", Source: "source.example",
	HubAuth: "auth.hub.example", Second: "second.example", Storage: "storage.example",
	Plain: "mirror.example", Cache: "127.0.0.1",
}

func newWorld(c *certificates) (*world, error) {
	w := &world{servers: map[Party]*httptest.Server{}}
	for party := range names {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(party, rw, r) }))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.IdleTimeout = time.Second
		if party == Plain || party == Cache {
			s.Start()
		} else {
			s.TLS = c.server()
			s.StartTLS()
		}
		w.servers[party] = s
	}
	var err error
	w.closed, w.release, err = closedPort()
	return w, err
}

// closedPort returns a port that refuses connections, because nothing listens at it.
// It is bound, so nothing else will until it is released.
func closedPort() (port string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { unix.Close(fd) }
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", release, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", release, err
	}
	return fmt.Sprint(name.(*unix.SockaddrInet4).Port), release, nil
}

func (w *world) stop() {
	w.release()
	for _, s := range w.servers {
		s.Close()
	}
}

// port returns the port of a party.
func (w *world) port(p Party) string {
	_, port, _ := net.SplitHostPort(w.servers[p].Listener.Addr().String())
	return port
}

// host returns the name and the port of a party.
func (w *world) host(p Party) string { return names[p] + ":" + w.port(p) }

// url returns the address of a party, at a path.
func (w *world) url(p Party, path string) string { return "https://" + w.host(p) + path }

// begin begins a case.
func (w *world) begin(play map[Party]http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.play, w.out, w.served = play, Outcome{Seen: Seen{}}, nil
}

// end ends it. If some of the image's objects are from one party and some from
// another, it is from "mirror+source".
func (w *world) end() Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.play = nil
	slices.Sort(w.served)
	w.out.From = Party(strings.Join(w.served, "+"))
	return w.out
}

// serve notes which secrets a request has and has the party answer it.
func (w *world) serve(p Party, rw http.ResponseWriter, r *http.Request) {
	text := requestText(r)
	w.mu.Lock()
	play := w.play[p]
	for _, s := range secrets {
		if strings.Contains(text, s.text()) {
			w.out.Seen.add(p, s)
		}
	}
	w.mu.Unlock()
	if play == nil {
		http.NotFound(rw, r)
		return
	}
	play(rw, r)
}

// requestText is all that a request says: its address, its headers and its form,
// with Basic decoded.
func requestText(r *http.Request) string {
	r.ParseForm()
	var text strings.Builder
	fmt.Fprintln(&text, r.URL, r.Form)
	for name, values := range r.Header {
		for _, v := range values {
			fmt.Fprintln(&text, name, v)
			if encoded, ok := strings.CutPrefix(v, "Basic "); ok {
				plain, _ := base64.StdEncoding.DecodeString(encoded)
				fmt.Fprintln(&text, string(plain))
			}
		}
	}
	return text.String()
}

// give serves the image's objects as a party.
func (w *world) give(p Party, rw http.ResponseWriter, r *http.Request) {
	o, ok := find(r.URL.Path)
	if !ok {
		http.NotFound(rw, r)
		return
	}
	if r.Method == http.MethodGet {
		w.mu.Lock()
		if !slices.Contains(w.served, string(p)) {
			w.served = append(w.served, string(p))
		}
		w.mu.Unlock()
	}
	rw.Header().Set("Content-Type", o.mediaType)
	rw.Header().Set("Docker-Content-Digest", o.digest)
	rw.Header().Set("Content-Length", fmt.Sprint(len(o.data)))
	if r.Method == http.MethodGet {
		rw.Write(o.data)
	}
}
