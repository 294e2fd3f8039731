package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sumsFile has the sum of each other file, as "sha256sum -c" takes it.
const sumsFile = "SHA256SUMS"

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// writeSums writes the sums of all files in a directory, in the order of their
// paths.
func writeSums(dir string) error {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		at, err := filepath.Rel(dir, file)
		fmt.Fprintf(&b, "%s  %s\n", sum(data), filepath.ToSlash(at))
		return err
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sumsFile), []byte(b.String()), 0o644)
}
