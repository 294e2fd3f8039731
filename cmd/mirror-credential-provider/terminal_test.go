//go:build linux

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal returns the two ends of a new terminal: the one that a person sits at,
// and the one that a program reads.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// TestTerminal types the program's name: it says at once what it is, and does not
// wait for a request. That is not a run, so the log has none.
func TestTerminal(t *testing.T) {
	_, stdin := terminal(t)
	root := t.TempDir()
	for _, args := range [][]string{nil, {"help"}, {"/etc/kubernetes/azure.json"}, {"--registry-mirror=@/var/lib/mirrorcred/routes"}} {
		cmd := exec.Command(filepath.Join(binDir, names[0]), append(args, "--root", root)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
		began := time.Now()
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "the kubelet runs this program") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%q: %v, stdout %q, stderr %q; want exit code 1 and one line that says what it is", args, err, stdout.String(), stderr.String())
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%q took %s; want an answer at once", args, took)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("below the root are %v, %v; want no log", entries, err)
	}
	// Help is still help, and a device that is not a terminal is empty input.
	cmd := exec.Command(filepath.Join(binDir, names[0]), "--help")
	cmd.Stdin = stdin
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "Usage: ") {
		t.Errorf("--help: %v, %q", err, out)
	}
	out, _ := exec.Command(filepath.Join(binDir, names[0]), "--root", root, "/etc/kubernetes/azure.json").CombinedOutput() // reads /dev/null
	if strings.Contains(string(out), "terminal") {
		t.Errorf("with /dev/null as input it says %q", out)
	}
}
