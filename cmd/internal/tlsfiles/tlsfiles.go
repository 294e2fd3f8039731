// Package tlsfiles judges the files of a registry's "ca" and "client" settings:
// whether containerd, which opens them at each pull, accepts them.
//
// A file that containerd rejects fails every pull through that registry, so it
// is a [Problem]. The package decides with the same calls as containerd
// (core/remotes/docker/config/hosts.go, v2.4.2, updateTLSConfigFromHost), and
// words the problem itself. It reads no file, and does not know which registry
// it is for. Start at [Checker].
package tlsfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Problem is one file that containerd refuses, or that makes pulls fail later.
type Problem struct {
	// Key is the setting that names the file, "ca" or "client".
	Key string
	// File is the path of the file on this machine.
	File string
	// Text says what is wrong and what to do. It follows the file's name.
	Text string
	// Missing says that the file does not exist.
	Missing bool
	// Expired says that containerd accepts the file, but TLS will not: its
	// certificate is not valid now.
	Expired bool
}

// A Checker checks files, each of them once: many registries name the same.
type Checker struct {
	path  func(file string) string
	read  func(path string) ([]byte, error)
	now   time.Time
	files map[string]content
	known map[[3]string][]Problem // by the key and the files
	found []Client
}

// A Client is a client certificate and when it is valid.
type Client struct {
	File        string // on this machine
	From, Until time.Time
}

// Clients returns the client certificates that were checked and can be used, in
// the order of their first check.
func (c *Checker) Clients() []Client { return c.found }

// content is what a file holds, or why it cannot be read.
type content struct {
	data []byte
	err  error
}

// New returns a checker. path returns the path on this machine of a file in the
// map, and read reads it; an error that is [fs.ErrNotExist] means that it is
// missing. now is when certificates must be valid.
func New(path func(file string) string, read func(path string) ([]byte, error), now time.Time) *Checker {
	return &Checker{path: path, read: read, now: now, files: map[string]content{}, known: map[[3]string][]Problem{}}
}

// Check returns the problems of a registry's files, in the order in which the
// settings name them.
func (c *Checker) Check(s mirror.Settings) []Problem {
	var list []Problem
	for _, file := range s.CA {
		list = append(list, c.once([3]string{"ca", c.path(file)}, c.ca)...)
	}
	for _, pair := range s.Client {
		if pair[1] == "" {
			pair[1] = pair[0]
		}
		list = append(list, c.once([3]string{"client", c.path(pair[0]), c.path(pair[1])}, c.client)...)
	}
	return list
}

// once checks what a key names, and remembers the result.
func (c *Checker) once(key [3]string, judge func(cert, key string) []Problem) []Problem {
	list, ok := c.known[key]
	if !ok {
		list = judge(key[1], key[2])
		for i := range list {
			list[i].Key = key[0]
		}
		c.known[key] = list
	}
	return list
}

// open reads a file, and returns a problem if that fails.
func (c *Checker) open(file string) ([]byte, *Problem) {
	f, ok := c.files[file]
	if !ok {
		f.data, f.err = c.read(file)
		c.files[file] = f
	}
	switch {
	case errors.Is(f.err, fs.ErrNotExist):
		return nil, &Problem{File: file, Text: "does not exist; put it there, or remove it from the map", Missing: true}
	case f.err != nil:
		return nil, &Problem{File: file, Text: fmt.Sprintf("cannot be read: %v", bare(f.err))}
	}
	return f.data, nil
}

// bare removes the operation and the path from an error, since the message
// names the file.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
