package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// program returns a command of the program.
func program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "MIRRORCRED_TEST_MAIN=1")
	return cmd
}

// A tree is the root of a node.
type tree struct {
	testing.TB
	root    string
	program string // "" is this one
}

// newTree returns a node that is ready for a map.
func newTree(t testing.TB) tree {
	// Not t.TempDir: the path of a socket is short.
	root, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	n := tree{TB: t, root: root}
	n.write(configPath, config)
	if err := newRoot(root); err != nil {
		t.Fatal(err)
	}
	return n
}

// write puts a file into place by a rename.
func (n tree) write(name, text string) {
	n.Helper()
	name = filepath.Join(n.root, name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name+".new", []byte(text), 0o644)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		n.Fatal(err)
	}
}

func (n tree) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(n.root, name)) // "" if there is none
	return string(data)
}

// until waits for something to be true.
func (n tree) until(what string, true func() bool) {
	n.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.Fatalf("%s: not within 20 s; the status is %+v", what, n.status())
		}
	}
}

// status asks as a user does; the zero status if no watcher answers.
func (n tree) status() watch.Status {
	var s wholeStatus
	out, _ := program(n, "status", "--json", "--root", n.root).Output()
	if json.Unmarshal(out, &s) != nil || s.FromDisk {
		return watch.Status{}
	}
	return s.Status
}

// watch starts a watcher; the function that it returns ends it and returns its
// log.
func (n tree) watch(args ...string) (cmd *exec.Cmd, stop func() string) {
	n.Helper()
	cmd = program(n, append([]string{"watch", "--root", n.root}, args...)...)
	if n.program != "" {
		cmd.Path = n.program
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	return cmd, func() string {
		n.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			n.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			n.Errorf("the watcher ended with %v:\n%s", err, log.String())
		}
		return log.String()
	}
}

func freeAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, response.Status, err)
	}
	return string(data)
}
