package containerd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
	"github.com/mirrorcred/mirrorcred/credential"
)

// TestImagesOfAStranger holds that a credential goes to no program of another user,
// whoever owns the directory of the socket.
func TestImagesOfAStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as another user")
	}
	dir, err := os.MkdirTemp("", "mc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := containerdtest.Command(socket, "v2.4.2", "/etc/containerd/certs.d")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the stranger does not listen")
		}
	}
	images, err := OpenImages(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer images.Close()
	err = images.Pull(t.Context(), "quay.io/a:1", credential.Credential{Username: "u", Password: "CANARY"})
	if err == nil || !strings.Contains(err.Error(), "of user 65534 listens on "+socket) || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("Pull at a stranger = %v; want it to be refused", err)
	}
}

// TestPullErrorHoldsNoSecret has a registry's answer repeat the password.
func TestPullErrorHoldsNoSecret(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	s := &containerdtest.Store{Version: "v2.4.2", Answers: []string{`"UNKNOWN" the registry says $PASSWORD`}}
	stop, err := s.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	images, err := OpenImages(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer images.Close()
	err = images.Pull(t.Context(), "quay.io/a:1", credential.Credential{Username: "u", Password: "CANARY"})
	if err == nil || err.Error() != "the registry says [secret]" {
		t.Errorf("Pull = %v", err)
	}
	if _, ok, err := images.Find(t.Context(), "quay.io/a:1"); ok || err != nil {
		t.Errorf("Find of what was not pulled = %t, %v", ok, err)
	}
}
