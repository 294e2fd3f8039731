// Package dockerconfig gets a credential from a docker config.json: from an
// entry in the file, or from a docker credential helper that the file names.
//
// The kubelet can pass on a username and a password only, so an entry of
// another kind is an error. A registry without an entry is an error too, and
// never an anonymous pull: if the map names a file, it should be used. Start at
// [Read].
package dockerconfig

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// maxFile bounds the file, as the kubelet bounds its own
// (Kubernetes v1.37.0, pkg/credentialprovider/config.go, maxReadLength is
// 10 MiB; real ones are far below 1).
const maxFile = 1 << 20

// A Source is the content of one config.json when it was read.
type Source struct{ config *config }

type config struct {
	file    string
	auths   []entry           // in the order in which they are tried
	helpers map[string]string // host, docker.io for Docker Hub, to the helper's name
	store   string            // the helper for every registry, or ""
}

var _ credential.Source = (*Source)(nil)

// Read reads a config.json, which must be a regular file of at most 1 MiB that
// only its owner can read: it holds passwords in clear text; base64 hides
// nothing. It reads by read: [input.Read], or a function that stays below a root.
func Read(read func(path string, max int64) ([]byte, fs.FileInfo, error), file string) (*Source, error) {
	data, info, err := read(file, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; write it with mode 0600, as \"docker login\" does", file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, bare(err))
	case isStranger(info):
		return nil, fmt.Errorf("%s holds passwords and belongs to another user; chown root %s", file, file)
	case info.Mode()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %04o and holds passwords; run: chmod 0600 %s", file, info.Mode().Perm(), file)
	}
	return Parse(file, data)
}

func isStranger(info fs.FileInfo) bool {
	_, is := input.Stranger(info)
	return is
}

// bare removes the operation and the path from an error.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Parse parses a config.json; file is its name, for errors. It ignores unknown
// keys, and checks an entry only when an image needs it, because docker may use
// the same file.
func Parse(file string, data []byte) (*Source, error) {
	var raw struct {
		Auths       map[string]*auth  `json:"auths"`
		CredHelpers map[string]string `json:"credHelpers"`
		CredsStore  string            `json:"credsStore"`
	}
	err := json.Unmarshal(data, &raw)
	if err != nil || raw.Auths == nil && raw.CredHelpers == nil && raw.CredsStore == "" {
		if err := mistaken(file, data); err != nil {
			return nil, err
		}
	}
	if err != nil {
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

// position says where a decoder failed. It does not repeat the decoder's error,
// which may quote the file.
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

// Format implements [fmt.Formatter]. It prints the name of the file, and
// nothing of its content.
func (s Source) Format(f fmt.State, _ rune) {
	if s.config == nil {
		fmt.Fprint(f, "docker-config")
		return
	}
	fmt.Fprintf(f, "docker-config %q", s.config.file)
}

// Credential returns the entry for query.Image at query.Registry.
//
// The registry's own helper in credHelpers comes first, as in docker
// (github.com/docker/cli v28, cli/config/configfile/file.go,
// getConfiguredCredentialStore). Then comes auths: the longest path that ends
// at a part of the image's repository, and a host without wildcards before one
// with. credsStore comes last. In docker it comes before auths; but a file from
// another machine often names a store that the node does not have, and the
// kubelet reads auths only.
func (s *Source) Credential(ctx context.Context, query credential.Query) (credential.Credential, error) {
	c, host := s.config, hub(query.Registry.String())
	if host == "" {
		return credential.Credential{}, fmt.Errorf("%s: no registry is named", c.file)
	}
	found, has := c.find(query)
	for _, host := range []string{host, withPort(host, query.Plain)} {
		if name := c.helpers[host]; name != "" {
			return c.askHelper(ctx, "credHelpers", name, server(host, found))
		}
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
	what, repair := c.none(query.Registry, found)
	return credential.Credential{}, fmt.Errorf("%s: %s; %s", c.file, what, repair)
}

// none says that a registry has no entry, and how to add one.
func (c *config) none(registry mirror.Host, found entry) (what, repair string) {
	what = fmt.Sprintf("no entry for %q under auths", registry)
	if found.key != "" {
		what = fmt.Sprintf("entry %q under auths is empty", found.key)
	}
	key := registry.String()
	if hub(key) == "docker.io" {
		key = hubKey
	}
	if filepath.Base(c.file) == "config.json" {
		return what, fmt.Sprintf("run \"docker --config %s login %s\"", filepath.Dir(c.file), hub(registry.String()))
	}
	return what, fmt.Sprintf("write %q: {\"auth\": \"base64 of user:password\"} there", key)
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
