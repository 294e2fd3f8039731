//go:build unix

package audit

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// DefaultFile is where the plugin writes, unless it is told otherwise.
const DefaultFile = "/var/log/mirrorcred/plugin.jsonl"

// noFollow are the flags by which open follows no link and waits for no FIFO.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// followed reports whether a link led to the open file; noFollow sees to that.
func followed(string, fs.FileInfo) bool { return false }

// tryLock locks a file unless another run has it. The lock ends with the file's
// close.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// hasSockets returns why a run cannot be sent to a datagram socket.
func hasSockets() error { return nil }

func sendTo(path string, data []byte) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	// Not conn.Write, which waits for a receiver that is behind.
	errRaw := raw.Write(func(fd uintptr) bool {
		_, err = syscall.Write(int(fd), data)
		return true
	})
	return errors.Join(errRaw, err)
}
