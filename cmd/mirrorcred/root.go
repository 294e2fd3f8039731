package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// rootFlag returns the directory that --root names, as an absolute path, "" for
// the machine itself. An empty --root comes from an unset variable in a script:
// the script means an image, not the machine that it runs on.
func rootFlag(flags *pflag.FlagSet) (string, error) {
	if !flags.Changed("root") {
		return "", nil
	}
	root, err := flags.GetString("root")
	if err != nil {
		return "", err
	}
	if root == "" {
		return "", errors.New("--root is empty; name a directory, or remove the flag for this machine")
	}
	dir, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("--root=%s: %w", root, err)
	}
	if dir == "/" {
		return "", nil
	}
	if err := input.NewRoot(dir).Check(); err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", fmt.Errorf("--root=%s: %w; name an existing directory", root, err)
	}
	return dir, nil
}
