package box

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// prefix begins the names of all that a box leaves outside while it runs; the
// id of its first process follows, and what comes after another dash is free.
const prefix = "mirrorcred-e2e-"

func ownName() string { return prefix + strconv.Itoa(os.Getpid()) }

// Scratch makes a directory outside of the box, for the first process to
// remove. Those that were left by a process that was killed are removed now.
func Scratch() (string, error) {
	for _, dir := range abandoned(os.TempDir()) {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(os.TempDir(), ownName())
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make room for programs: %w", err)
	}
	return dir, nil
}

// abandoned returns what boxes have in dir whose first process is no more.
func abandoned(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	var list []string
	for _, name := range names {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), prefix), "-")
		pid, err := strconv.Atoi(id)
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			list = append(list, name)
		}
	}
	return list
}
