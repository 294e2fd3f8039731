// Package dockerconfig gets a credential from a docker config.json: one that
// stands in the file, or one that a docker credential helper named there gives.
//
// The kubelet hands on a username and a password and nothing else, so entries
// of other kinds are refused, with the reason. A registry that has no entry is
// an error and never an anonymous pull: who names a file wants it used. Start
// at [Read].
package dockerconfig

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// maxFile bounds the file, as the kubelet bounds its own
// (Kubernetes v1.37.0, pkg/credentialprovider/config.go, maxReadLength is
// 10 MiB; nobody's is near 1).
const maxFile = 1 << 20

// A Source is one config.json, as it was when it was read.
type Source struct{ config *config }

type config struct {
	file    string
	auths   []entry           // in the order in which they are looked at
	helpers map[string]string // host, docker.io for Docker Hub, to the helper's name
	store   string            // the helper for every registry, or ""
}

var _ credential.Source = (*Source)(nil)

// Read reads a config.json, which must be a regular file of at most 1 MiB that
// only its owner can read: it holds passwords in clear, for base64 hides
// nothing.
func Read(file string) (*Source, error) {
	// Without O_NONBLOCK a named pipe would be waited for.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not there; write it with mode 0600, as \"docker login\" does", file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, bare(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; name the config.json itself", file)
	case info.Mode()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o and holds passwords; chmod 0600 %s", file, info.Mode().Perm(), file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, bare(err))
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s is longer than %d bytes; keep only the registries of this node in it", file, maxFile)
	}
	return Parse(file, data)
}

// bare takes the operation and the path off an error.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Parse parses a config.json; file is its name, for errors. Unknown keys are
// let pass, and an entry is judged when an image asks for it: the file may be
// shared with docker.
func Parse(file string, data []byte) (*Source, error) {
	var raw struct {
		Auths       map[string]*auth  `json:"auths"`
		CredHelpers map[string]string `json:"credHelpers"`
		CredsStore  string            `json:"credsStore"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s; write it as \"docker login\" does", position(file, data, err))
	}
	c := &config{file: file, auths: entries(raw.Auths), helpers: map[string]string{}, store: raw.CredsStore}
	for key, helper := range raw.CredHelpers {
		if e, ok := newEntry(key, auth{}); ok && e.prefix == "" {
			c.helpers[e.host] = helper
		}
	}
	return &Source{c}, nil
}

// position says where a decoder stumbled. Its own error is not repeated, since
// it may quote the file.
func position(file string, data []byte, err error) string {
	var offset int64
	what := "not JSON"
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset, what = kind.Offset, "not a docker config.json: a value has the wrong type"
	}
	line := 1 + strings.Count(string(data[:min(max(offset, 0), int64(len(data)))]), "\n")
	return fmt.Sprintf("%s:%d: %s", file, line, what)
}

// Format implements [fmt.Formatter]: it prints the file's name and nothing
// that stands in it.
func (s Source) Format(f fmt.State, _ rune) {
	if s.config == nil {
		fmt.Fprint(f, "docker-config")
		return
	}
	fmt.Fprintf(f, "docker-config %q", s.config.file)
}

// Credential returns the entry for ask.Image at ask.Registry. First comes the
// registry's own helper under credHelpers, as docker has it (github.com/docker/cli
// v28, cli/config/configfile/file.go, getConfiguredCredentialStore). Then auths:
// the longest path that ends where a part of the image's repository ends, and a
// host without wildcards before one with. Last comes credsStore, and not before
// auths as in docker: a file that was brought from elsewhere often names a
// store that the node does not have, and the kubelet too reads auths alone.
func (s *Source) Credential(ctx context.Context, ask credential.Ask) (credential.Credential, error) {
	c, host := s.config, hub(ask.Registry.String())
	if host == "" {
		return credential.Credential{}, fmt.Errorf("%s: no registry is named", c.file)
	}
	found, has := c.find(host, ask.Image)
	if name := c.helpers[host]; name != "" {
		return c.askHelper(ctx, "credHelpers", name, server(host, found))
	}
	if has && !found.auth.empty() {
		cred, err := found.auth.credential()
		if err != nil {
			return credential.Credential{}, fmt.Errorf("%s: entry %q under auths %w", c.file, found.key, err)
		}
		return cred, nil
	}
	if c.store != "" {
		return c.askHelper(ctx, "credsStore", c.store, server(host, found))
	}
	return credential.Credential{}, c.none(ask.Registry, found)
}

// none says how to give a registry an entry.
func (c *config) none(registry mirror.Host, found entry) error {
	what := fmt.Sprintf("no entry for %q under auths", registry)
	if found.key != "" {
		what = fmt.Sprintf("entry %q under auths is empty", found.key)
	}
	key := registry.String()
	if hub(key) == "docker.io" {
		key = hubKey
	}
	hint := fmt.Sprintf("write %q: {\"auth\": \"base64 of user:password\"} there", key)
	if filepath.Base(c.file) == "config.json" {
		hint = fmt.Sprintf("run \"docker --config %s login %s\"", filepath.Dir(c.file), hub(registry.String()))
	}
	return fmt.Errorf("%s: %s; %s", c.file, what, hint)
}

// server is the name under which a helper knows a registry: docker gives it the
// key under which it logged in.
func server(host string, found entry) string {
	if host == "docker.io" {
		return hubKey
	}
	if found.prefix != "" || strings.Contains(found.key, "*") {
		return host
	}
	return cmp.Or(found.key, host)
}
