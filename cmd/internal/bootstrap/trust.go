package bootstrap

import (
	"fmt"
	"os"
	"syscall"
)

// asTrusted returns an error if a file beside the manager may have come from a user who
// could not have changed the manager: in a directory for all, such as /tmp, another user
// may have put a plugin there first, which the kubelet would run as root.
func asTrusted(file, manager string) error {
	mode, owner, err := stat(file)
	if err != nil {
		return err
	}
	ofManager, managerOwner, err := stat(manager)
	if err != nil {
		return err
	}
	switch {
	case owner != 0 && owner != os.Geteuid() && owner != managerOwner:
		return fmt.Errorf("%s: it belongs to user %d, and the mirrorcred that you run does not; put both there from one package", file, owner)
	case mode&^ofManager&0o022 != 0:
		return fmt.Errorf("%s: other users may change it (mode %04o), and not the mirrorcred that you run; put both there from one package, with mode 0755", file, mode)
	}
	return nil
}

// stat returns the permissions and the owner of a file on this machine.
func stat(name string) (mode os.FileMode, owner int, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("%s: its owner is not known", name)
	}
	return info.Mode().Perm(), int(st.Uid), nil
}
