//go:build unix

package tokens

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// The flags by which open follows no link, and waits for no FIFO.
const noFollow, noWait = syscall.O_NOFOLLOW, syscall.O_NONBLOCK

// supported returns why there can be no cache on this system.
func supported(string) error { return nil }

func checkOwner(path string, info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int64(st.Uid) != int64(os.Geteuid()) {
		return fmt.Errorf("%s belongs to another user, and is not used; remove it", path)
	}
	return nil
}

// tryLock locks a file unless another run has it.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// wait locks a file when no other run has it any more.
func wait(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
