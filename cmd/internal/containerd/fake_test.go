package containerd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/mirror"
)

func TestMain(m *testing.M) {
	containerdtest.Main()
	os.Exit(m.Run())
}

// A box is a node in a directory of its own.
type box struct {
	*testing.T
	Observer
}

const (
	tree     = "/etc/containerd/certs.d"
	mainFile = "/etc/containerd/config.toml"
	images   = "[plugins.'io.containerd.cri.v1.images'.registry]\n"
	oldTable = "[plugins.'io.containerd.grpc.v1.cri'.registry]\n"
	right    = "config_path = '" + tree + "'\n"
	wrong    = "config_path = '/etc/docker/certs.d'\n"
)

// newBox returns a node whose configuration leads to the tree. The tests of a
// running containerd need root: it must be root's.
func newBox(t *testing.T) box {
	t.Helper()
	root, err := os.MkdirTemp("", "mc") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	b := box{t, Observer{Root: root, sys: thisMachine(), Wanted: mirror.Containerd{
		HostsDir: tree, Config: mainFile, Address: filepath.Join(root, "containerd.sock"),
	}}}
	if os.Getuid() != 0 {
		b.sys.owner = func(int) (process.Verdict, error) { return process.Verdict{}, nil }
	}
	b.write(mainFile, "version = 3\n"+images+right)
	return b
}

func (b box) write(name, text string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (b box) remove(name string) {
	b.Helper()
	b.do(os.Remove(b.path(name)))
}

func (b box) do(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// start starts a containerd, later than what the box has was written; what it
// returns ends it.
func (b box) start(is, tells string, args ...string) (stop func()) {
	b.Helper()
	time.Sleep(5 * armed.Tick)
	cmd := containerdtest.Command(b.Wanted.Address, is, tells, args...)
	b.do(cmd.Start())
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	b.Cleanup(stop)
	for {
		conn, err := net.Dial("unix", b.Wanted.Address)
		if err == nil {
			conn.Close()
			time.Sleep(5 * armed.Tick)
			return stop
		}
		if b.Context().Err() != nil || cmd.ProcessState != nil {
			b.Fatalf("the fake containerd does not listen: %v", err)
		}
		time.Sleep(armed.Tick)
	}
}

// look fails unless the verdict has the text as its reason; "" is armed.
func (b box) verdict(want string) Verdict {
	b.Helper()
	v, err := b.Verdict(b.Context())
	got := "armed"
	if err != nil {
		got = "error: " + err.Error()
	} else if v.NotArmed != nil {
		got = v.NotArmed.Error()
	}
	if want == "" && got != "armed" || !strings.Contains(got, want) {
		b.Errorf("the verdict is %s\nwant %q (armed if empty)", got, want)
	}
	if want != "" && !strings.Contains(got, "; ") {
		b.Errorf("the reason %q does not say what to do", got)
	}
	return v
}
