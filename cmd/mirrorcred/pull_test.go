package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
)

// storeKey is where a script keeps its containerd.
type storeKey struct{}

// startContainerd starts a containerd of this process on the node's socket:
// containerd VERSION PAUSE-IMAGE [FILE], with what it answers to pulls in the file,
// a line each. A containerd that was started before ends.
func startContainerd(ts *testscript.TestScript, _ bool, args []string) {
	s := &containerdtest.Store{Version: args[0], Sandbox: args[1]}
	if len(args) > 2 {
		s.Answers = strings.Split(strings.TrimSpace(ts.ReadFile(args[2])), "\n")
	}
	running, _ := ts.Value(storeKey{}).(*runningStore)
	running.end()
	socket := ts.MkAbs("root/run/containerd/containerd.sock")
	ts.Check(os.MkdirAll(filepath.Dir(socket), 0o755))
	stop, err := s.Listen(socket)
	ts.Check(err)
	running.store, running.stop = s, stop
}

// A runningStore is the containerd of a script; no containerd if store is nil.
type runningStore struct {
	store *containerdtest.Store
	stop  func()
}

func (r *runningStore) end() {
	if r.store != nil {
		r.stop()
		r.store = nil
	}
}

// pulls compares what containerd was asked to pull with the lines of a file.
func pulls(ts *testscript.TestScript, _ bool, args []string) {
	running, _ := ts.Value(storeKey{}).(*runningStore)
	want := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	if got := running.store.Pulls(); !slices.Equal(got, want) {
		ts.Fatalf("containerd was asked for\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestProgressLine holds that a line of progress fits on a terminal, and that its
// end, the numbers, is not cut.
func TestProgressLine(t *testing.T) {
	var b strings.Builder
	s := &screen{w: &b, terminal: true}
	s.progress(strings.Repeat("long/", 40), "1.0 MiB of 2.0 MiB, 1 of 2 layers so far")
	if got := b.String(); len([]rune(got)) > len("\r\x1b[K")+79 || !strings.HasSuffix(got, "of 2 layers so far") {
		t.Errorf("the line is %q", got)
	}
}

// TestPullOnATerminal runs a slow pull on a terminal, which shows how far it is.
func TestPullOnATerminal(t *testing.T) {
	n := newPullNode(t)
	s := &containerdtest.Store{Version: "v2.4.2", Slow: time.Second}
	stop, err := s.Listen(filepath.Join(n, "run/containerd/containerd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	out := onTerminal(t, "pull", "--timeout", "20s", "--root", n, "quay.io/a/b:1")
	if want := "quay.io/a/b:1  2.0 MiB of 4.0 MiB, 0 of 2 layers so far"; !strings.Contains(out, want) {
		t.Errorf("on a terminal it shows %q; want %q in it", out, want)
	}
	if !strings.Contains(out, "\r\x1b[Kpulled   quay.io/a/b:1 (sha256:") {
		t.Errorf("on a terminal it shows %q; want the line of progress gone in the end", out)
	}
}

// TestPullInterrupted stops a pull by a signal, while it waits for containerd and
// while it waits to try again. It ends at once, with the code of the signal.
func TestPullInterrupted(t *testing.T) {
	root := newPullNode(t)
	socket := filepath.Join(root, "run/containerd/containerd.sock")
	silent, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		answers []string
		until   string // on stderr, when the signal is sent; "" is once it has connected
		want    string
	}{
		{nil, "", "mirrorcred: stopped while waiting for containerd\n"},
		{[]string{`"UNAVAILABLE" down`, `"UNAVAILABLE" down`, `"UNAVAILABLE" down`, `"UNAVAILABLE" down`, `"UNAVAILABLE" down`}, "trying again", "mirrorcred: stopped; not everything is pulled\n"},
	} {
		if tt.answers != nil {
			s := &containerdtest.Store{Version: "v2.4.2", Answers: tt.answers}
			silent.Close()
			stop, err := s.Listen(socket)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "pull", "--root", root, "quay.io/a/b:1")
		cmd.Env = append(os.Environ(), "MIRRORCRED_TEST_MAIN=1")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := ""
		if tt.until == "" {
			conn, err := silent.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		for buffer := make([]byte, 4096); !strings.Contains(said, tt.until); {
			n, err := stderr.Read(buffer)
			said += string(buffer[:n])
			if err != nil {
				t.Fatalf("it ends with %q", said)
			}
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(stderr)
		_ = cmd.Wait()
		if said += string(rest); cmd.ProcessState.ExitCode() != 130 || !strings.HasSuffix(said, tt.want) {
			t.Errorf("exit code %d, %q; want 130 and %q", cmd.ProcessState.ExitCode(), said, tt.want)
		}
	}
}

// newPullNode returns a node with an anonymous mirror of quay.io in place. The path
// of a socket is short, so its directory is too.
func newPullNode(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := newRoot(root); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/mirrorcred", "run/containerd"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := "version = 1\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"mirror.corp\"]\n"
	if err := os.WriteFile(filepath.Join(root, "etc/mirrorcred/mirrors.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	plugin := "#!/bin/sh\ncat >/dev/null\necho '{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Image\"}'\n"
	if err := os.WriteFile(filepath.Join(root, "var/lib/kubelet/credential-provider/mirror-credential-provider"), []byte(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"apply", "--root", root}, &out); err != nil {
		t.Fatalf("apply: %v\n%s", err, out.String())
	}
	return root
}

// onTerminal runs this program on a terminal, and returns what that shows.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer person.Close()
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "MIRRORCRED_TEST_MAIN=1")
	cmd.Stdout, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	shown, _ := io.ReadAll(person) // ends with EIO, once the program has
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v\n%s", args, err, shown)
	}
	return string(shown)
}

// TestPullPage runs the commands of docs/pull.md, with its list of images, on a node
// with a map as the README has it.
func TestPullPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/pull.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newPullNode(t)
	for name, text := range map[string]string{
		"etc/mirrorcred/mirrors.toml": "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"mirror.corp\"]\n",
		"etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n" +
			"[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'mcr.microsoft.com/oss/pause:3.9'\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"apply", "--root", root}, &out); err != nil {
		t.Fatalf("apply: %v\n%s", err, out.String())
	}
	s := &containerdtest.Store{Version: "v2.4.2", Sandbox: "mcr.microsoft.com/oss/pause:3.9"}
	stop, err := s.Listen(filepath.Join(root, "run/containerd/containerd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	t.Chdir(t.TempDir())
	commands := 0
	for _, b := range blocks(string(data)) {
		if b.language == "text" {
			if err := os.WriteFile("images.txt", []byte(b.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, b := range blocks(string(data)) {
		if b.language != "sh" {
			continue
		}
		for line := range strings.Lines(b.text) {
			args := strings.Fields(line)
			out.Reset()
			if err := run(t.Context(), append(args[1:], "--root", root), &out); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out.String())
			}
			commands++
		}
	}
	if got := len(s.Pulls()); commands != 3 || got != 4 {
		t.Errorf("%d commands pull %q", commands, s.Pulls())
	}
}
