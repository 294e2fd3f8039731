package azuretest

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// serveProxy tunnels CONNECT to the hosts of the stand-in. Anything else, and
// so every request in plain HTTP, gets 502 and is remembered as refused.
func (c *Cloud) serveProxy(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || c.handler(withPort(r.Host)) == nil {
		c.refuse(r.Host)
		http.Error(w, "not part of the stand-in", http.StatusBadGateway)
		return
	}
	server, err := net.Dial("tcp", c.web.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		server.Close()
		return
	}
	io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	c.tunnel(client, buffered, server)
}

// tunnel copies both ways until either side ends.
func (c *Cloud) tunnel(client net.Conn, fromClient io.Reader, server net.Conn) {
	if !c.track(client, server) {
		return
	}
	defer c.untrack(client, server)
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(server, fromClient)
		server.Close()
	})
	both.Go(func() {
		io.Copy(client, server)
		client.Close()
	})
	both.Wait()
}

// track has Close end conns; it closes them at once, and reports false, if
// the stand-in is closed already.
func (c *Cloud) track(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		for _, conn := range conns {
			conn.Close()
		}
		return false
	default:
	}
	// A hijacked connection is no longer its server's to wait for.
	c.serving.Add(1)
	for _, conn := range conns {
		c.tunnels[conn] = struct{}{}
	}
	return true
}

func (c *Cloud) untrack(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
		delete(c.tunnels, conn)
	}
	c.serving.Done()
}
