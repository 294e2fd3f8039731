package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

// A Network gives hosts addresses of their own on loopback and says so in the
// box's /etc/hosts. Programs that are told nothing of a test then reach what
// it has them reach, at the ports that they know.
type Network struct {
	mu    sync.Mutex
	hosts map[string]string // address by name
	lines strings.Builder
}

// NewNetwork returns a network in which no name but localhost is known.
func NewNetwork() (*Network, error) {
	n := &Network{hosts: map[string]string{}}
	n.lines.WriteString("127.0.0.1 localhost node\n")
	// An empty file: glibc and Go would ask a server at 127.0.0.1 otherwise.
	if err := os.WriteFile("/etc/resolv.conf", []byte("options attempts:1 timeout:1\n"), 0o644); err != nil {
		return nil, err
	}
	return n, n.write()
}

// Address returns the address of a name, which gets one if it has none.
// Nothing listens there yet.
func (n *Network) Address(name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.hosts[name]; ok {
		return a, nil
	}
	a := fmt.Sprintf("127.0.1.%d", len(n.hosts)+1)
	return a, n.add(name, a)
}

// Unreachable gives a name an address to which there is no route.
func (n *Network) Unreachable(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.add(name, "192.0.2.1") // RFC 5737: for documentation
}

func (n *Network) add(name, address string) error {
	n.hosts[name] = address
	fmt.Fprintf(&n.lines, "%s %s\n", address, name)
	return n.write()
}

func (n *Network) write() error {
	return os.WriteFile("/etc/hosts", []byte(n.lines.String()), 0o644)
}

// Serve has every connection to host, a name or address with its port, taken
// by a connection that dial makes.
func (n *Network) Serve(host string, dial func(context.Context) (net.Conn, error)) error {
	l, err := n.listen(host)
	if err != nil {
		return err
	}
	go accept(l, func(client net.Conn) {
		server, err := dial(context.Background())
		if err != nil {
			client.Close()
			return
		}
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		io.Copy(client, server)
		client.Close()
	})
	return nil
}

// Silent has host take connections and never say a word.
func (n *Network) Silent(host string) error {
	l, err := n.listen(host)
	if err != nil {
		return err
	}
	go accept(l, func(client net.Conn) {
		defer client.Close()
		io.Copy(io.Discard, client)
	})
	return nil
}

func (n *Network) listen(host string) (net.Listener, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	address := name
	if net.ParseIP(name) == nil {
		if address, err = n.Address(name); err != nil {
			return nil, err
		}
	}
	return net.Listen("tcp", net.JoinHostPort(address, port))
}

// accept ends with the process, as all of a box does.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go serve(client)
	}
}
