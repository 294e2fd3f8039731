package plugin

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// maxRead bounds, in bytes, what is read from standard input and from a file.
// The largest is a request with a token and annotations, of some KiB.
const maxRead = 1 << 20

// readAll reads up to maxRead bytes; more is an error.
func readAll(r io.Reader, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRead+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(data) > maxRead:
		return nil, fmt.Errorf("%s is longer than %d bytes", what, maxRead)
	}
	return data, nil
}

// path returns the path on this machine of a path on the node. A relative path
// starts at the root only if there is one.
func (n *node) path(parts ...string) string {
	if n.root == "" {
		return filepath.Join(parts...)
	}
	return filepath.Join(append([]string{n.root}, parts...)...)
}

// readFile reads a regular file of the node; its error names the file once.
func (n *node) readFile(parts ...string) ([]byte, error) {
	return n.tree.ReadFile(n.path(parts...), maxRead)
}

// readOwned is readFile for a file that holds the node's identity, or decides
// where that is sent. It must belong to root or the user that runs the plugin:
// its owner can read and change it, whatever its mode.
func (n *node) readOwned(path string) ([]byte, error) {
	data, info, err := n.tree.Read(n.path(path), maxRead)
	if err != nil {
		return nil, err
	}
	if uid, is := input.Stranger(info); is {
		return nil, fmt.Errorf("%s belongs to user %d, and is not used; run: chown root %[1]s", n.path(path), uid)
	}
	return data, nil
}

// readFileWithin is readOwned for a file that another program names.
func (n *node) readFileWithin(ctx context.Context, path string) ([]byte, error) {
	return within(ctx, path+"; look for a dead mount", func() ([]byte, error) { return n.readOwned(path) })
}
