//go:build linux

package input_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
	"golang.org/x/sys/unix"
)

// soon fails the test if f takes as long as a reader that waits would. It is far
// more than a slow machine needs.
func soon(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

// special makes one of each thing that is not a file, by what an error calls it.
func special(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A writer that never writes: a reader would wait although it could open.
	writer, err := os.OpenFile(at("fifo"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close() })
	if err := unix.Mkfifo(at("lonely"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // the path of a socket is short
	listener, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	for to, name := range map[string]string{"/dev/zero": "zero", "fifo": "link"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]string{
		at("fifo"): "a FIFO", at("lonely"): "a FIFO", at("link"): "a FIFO", at("socket"): "a socket",
		at("zero"): "a device", "/dev/null": "a device", dir: "a directory",
	}
}

func TestSpecial(t *testing.T) {
	for path, kind := range special(t) {
		soon(t, func() {
			_, err1 := input.ReadFile(path, 0)
			_, _, err2 := input.Open(path)
			dir, err := input.OpenDir(filepath.Dir(path))
			if err != nil {
				t.Error(err)
				return
			}
			defer dir.Close()
			_, _, err3 := dir.ReadFile(filepath.Base(path), 0, nil)
			for _, err := range []error{err1, err2, err3} {
				var irregular *input.IrregularError
				var at *fs.PathError
				if !errors.As(err, &irregular) || irregular.Kind != kind || !errors.As(err, &at) || at.Path != path {
					t.Errorf("read %s: %v; want that it is %s", path, err, kind)
				}
			}
		})
	}
}

// A path that leads to a file when it is looked at may lead to a FIFO when it is
// opened.
func TestFIFOSwappedIn(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	}()
	soon(t, func() {
		for range 5000 {
			data, err := input.ReadFile(path, 0)
			var irregular *input.IrregularError
			if string(data) != "text" && !errors.As(err, &irregular) {
				t.Errorf("read %q, %v", data, err)
				return
			}
		}
	})
	close(stop)
	<-done
}

func TestSizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, size := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097} {
		want := strings.Repeat("x", size)
		if err := os.WriteFile(path, []byte(want), 0o640); err != nil {
			t.Fatal(err)
		}
		data, info, err := input.Read(path, 4096)
		var over *input.OversizeError
		if size > 4096 {
			if !errors.As(err, &over) || data != nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "4 KiB") {
				t.Errorf("read %d bytes: %v; want that it is too large", size, err)
			}
			continue
		}
		if err != nil || string(data) != want {
			t.Fatalf("read %d bytes: %d bytes, %v", size, len(data), err)
		}
		if info.Mode() != 0o640 || info.Size() != int64(size) || info.Name() != "file" || info.ModTime().IsZero() {
			t.Errorf("info = %v, %d bytes", info.Mode(), info.Size())
		}
		if _, ok := info.Sys().(*syscall.Stat_t); !ok {
			t.Errorf("Sys is %T", info.Sys())
		}
	}
	if _, err := input.ReadFile(path+".gone", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read a missing file: %v", err)
	}
	if err := os.Truncate(path, input.Max+1); err != nil { // it has holes, and takes no room
		t.Fatal(err)
	}
	if _, err := input.ReadFile(path, 0); err == nil || !strings.Contains(err.Error(), "8 MiB") {
		t.Errorf("read a file of more than 8 MiB: %v", err)
	}
}

// The files of /proc say that they are empty.
func TestProc(t *testing.T) {
	data, err := input.ReadFile("/proc/self/status", 0)
	if err != nil || !strings.HasPrefix(string(data), "Name:") || !strings.HasSuffix(string(data), "\n") {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := input.ReadFile("/proc/self/status", 64); err == nil {
		t.Error("a longer file is within its limit")
	}
}

// A file that never stops growing is not an endless read.
func TestGrowing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer f.Close()
		chunk := make([]byte, 4096)
		for written := 0; written < 64<<20; written += len(chunk) {
			select {
			case <-stop:
				return
			default:
				f.Write(chunk)
			}
		}
	}()
	soon(t, func() {
		for {
			if _, err := input.ReadFile(path, 1<<20); err != nil {
				var over *input.OversizeError
				if !errors.As(err, &over) {
					t.Error(err)
				}
				return
			}
		}
	})
	close(stop)
	<-done
}

// Open gives a file that can be read at any offset, and whose reads do not ask
// package os to wait.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, info, err := input.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	part := make([]byte, 3)
	if _, err := f.ReadAt(part, 4); err != nil || string(part) != "456" || info.Size() != 10 {
		t.Errorf("read %q of %d bytes, %v", part, info.Size(), err)
	}
	if all, err := io.ReadAll(f); err != nil || string(all) != "0123456789" {
		t.Errorf("read %q, %v", all, err)
	}
}
