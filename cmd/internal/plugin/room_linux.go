package plugin

import (
	"fmt"
	"os"
	"syscall"
)

// The memory that a run needs, in bytes: addresses, of which Go reserves 64 MiB
// at a time, and pages.
const (
	roomAddresses = 128 << 20
	roomPages     = 48 << 20
)

// checkRoom returns why Go's runtime would end this run, with a stack trace and
// exit code 2: it has no descriptors for its poller, which it opens with the
// first timer, or no memory for its heap. What the runtime needs to start
// cannot be checked here.
func checkRoom() error {
	if err := tryPoller(); err != nil {
		return withLimit(fmt.Errorf("wait for files and timers: %w", err))
	}
	for _, one := range []struct {
		limit, size, protection int
		name                    string
	}{
		{syscall.RLIMIT_AS, roomAddresses, syscall.PROT_NONE, "address space (RLIMIT_AS)"},
		{syscall.RLIMIT_DATA, roomPages, syscall.PROT_READ | syscall.PROT_WRITE, "data (RLIMIT_DATA)"},
	} {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(one.limit, &l); err != nil || l.Cur == ^uint64(0) {
			continue
		}
		data, err := syscall.Mmap(-1, 0, one.size, one.protection, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
		if err != nil {
			return fmt.Errorf("%d MiB of memory are not available within the limit of %s, %d MiB; raise it for the kubelet", one.size>>20, one.name, l.Cur>>20)
		}
		_ = syscall.Munmap(data)
	}
	return nil
}

// tryPoller opens what the runtime opens, and closes it again.
func tryPoller() error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer syscall.Close(epoll)
	event, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return os.NewSyscallError("eventfd2", errno)
	}
	return syscall.Close(int(event))
}
