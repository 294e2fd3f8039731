//go:build !linux

package plugin

import (
	"io"
	"os"
)

// isTerminal reports whether a reader is a terminal, or another device of
// characters: the kubelet writes the request to a pipe.
func isTerminal(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
