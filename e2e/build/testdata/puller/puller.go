// Command puller pulls images with one line of containerd's own code: its
// reader of hosts.toml, its resolver, its authorizer and its fetcher. What it
// pulls it throws away.
//
// Each line of standard input is a pull, in JSON; each line of standard output
// is how it ended, in the same order. Every name is an address on loopback, so
// whoever plays the registries needs no DNS.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// A pull is what the kubelet asks the CRI for.
type pull struct {
	HostsDir string `json:"hosts_dir"`
	Image    string `json:"image"`
	Transfer bool   `json:"transfer"` // by the transfer service's registry
	Username string `json:"username"`
	Password string `json:"password"`
}

// credentials is the CRI's callback: it has one login, whatever the host.
func (p pull) credentials(string) (username, password string, err error) {
	return p.Username, p.Password, nil
}

// A fetcher fetches the objects of one image.
type fetcher interface {
	Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
}

// A registry is where one image comes from.
type registry interface {
	resolve(context.Context) (name string, d ocispec.Descriptor, err error)
	fetcher(ctx context.Context, name string) (fetcher, error)
}

func main() {
	logrus.SetOutput(io.Discard)
	log.L.Logger.SetOutput(io.Discard)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: loopback}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "puller: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var p pull
		if err := json.Unmarshal(in.Bytes(), &p); err != nil {
			return err
		}
		var end struct {
			Error string `json:"error"`
		}
		if err := p.do(); err != nil {
			end.Error = err.Error()
		}
		if err := out.Encode(end); err != nil {
			return err
		}
	}
	return in.Err()
}

func (p pull) do() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	from, err := open(ctx, p)
	if err != nil {
		return err
	}
	name, manifest, err := from.resolve(ctx)
	if err != nil {
		return err
	}
	f, err := from.fetcher(ctx, name)
	if err != nil {
		return err
	}
	data, err := fetch(ctx, f, manifest)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	// All at once, as containerd does.
	objects := append(m.Layers, m.Config)
	errs := make([]error, len(objects))
	var wait sync.WaitGroup
	for i, d := range objects {
		wait.Add(1)
		go func(i int, d ocispec.Descriptor) {
			defer wait.Done()
			_, errs[i] = fetch(ctx, f, d)
		}(i, d)
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fetch returns an object, which must be what the descriptor says.
func fetch(ctx context.Context, f fetcher, d ocispec.Descriptor) ([]byte, error) {
	r, err := f.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(data); got != d.Digest {
		return nil, fmt.Errorf("got %s; want %s", got, d.Digest)
	}
	return data, nil
}

// loopback is a connection to a DNS server that knows one address.
func loopback(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for {
			var size [2]byte
			if _, err := io.ReadFull(server, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			answer := answerTo(query)
			if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// answerTo answers 127.0.0.1 to a question for an IPv4 address, and nothing to
// any other.
func answerTo(query []byte) []byte {
	const header = 12
	end := header
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, the type and the class
	answer := append([]byte{}, query[:end]...)
	answer[2], answer[3] = 0x84, 0 // a response, authoritative
	copy(answer[4:header], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	const typeA = 1
	if binary.BigEndian.Uint16(query[end-4:]) == typeA {
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
	}
	return answer
}
