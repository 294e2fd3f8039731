package input

import (
	"syscall"
	"unsafe"
)

// The kernel's numbers (openat2(2)), which package syscall lacks. openat2 has the same
// number on each architecture.
const (
	oPath         = 0x200000
	sysOpenat2    = 437
	noMagicLinks  = 0x02
	noSymlinks    = 0x04
	beneath       = 0x08
	resolveInRoot = 0x10 | noMagicLinks
	// attempts is how often a path is tried that something renames meanwhile.
	attempts = 1000
)

func openat2(dir int, name string, flags int, mode uint32, resolve uint64) (int, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	if flags&oPath != 0 {
		// The kernel refuses the others with it.
		flags &= oPath | syscall.O_DIRECTORY | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	}
	how := struct{ flags, mode, resolve uint64 }{uint64(flags), uint64(mode), resolve}
	for range attempts {
		fd, _, errno := syscall.Syscall6(sysOpenat2, uintptr(dir), uintptr(unsafe.Pointer(p)),
			uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case syscall.EINTR, syscall.EAGAIN:
		default:
			return -1, errno
		}
	}
	return -1, syscall.EAGAIN
}

func readlinkat(dir int, name string) (string, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	buffer := make([]byte, 4096) // PATH_MAX
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(buffer[:n]), nil
}
