package provider

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// untrusted returns why a program must not be run: another user than root, and than
// the one that runs this, may change it, or put another one in its place. The kubelet
// does not ask, but a person who runs this as root did not choose that program.
func untrusted(program string) error {
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil // the run says what is wrong
	}
	for _, name := range []string{program, filepath.Dir(program)} {
		info, err := os.Stat(name)
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		// Debian gives /usr/local/bin to the group staff, which stands for root there.
		byGroup := info.Mode()&0o020 != 0 && st.Gid != 0 && !info.IsDir()
		byAll := info.Mode()&0o002 != 0
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
		switch {
		case st.Uid != 0 && int(st.Uid) != os.Geteuid():
			return fmt.Errorf("%s belongs to user %d, who could have it run any program; chown root %s", name, st.Uid, name)
		case (byGroup || byAll) && !sticky:
			return fmt.Errorf("%s may be changed by other users (mode %04o), who could have it run any program; chmod go-w %s", name, info.Mode().Perm(), name)
		}
	}
	return nil
}

// maxOutput bounds what a provider may print; a credential is some kilobytes.
const maxOutput = 1 << 20

// errTooMuch ends a provider that prints more.
var errTooMuch = errors.New("it printed more than 1 MiB")

// A bounded keeps what a program prints, up to maxOutput. What comes then is an error,
// which ends the program, or is dropped.
type bounded struct {
	data []byte
	drop bool
}

// Write keeps p, and returns errTooMuch if there is no room.
func (b *bounded) Write(p []byte) (int, error) {
	room := maxOutput - len(b.data)
	if len(p) <= room {
		b.data = append(b.data, p...)
		return len(p), nil
	}
	b.data = append(b.data, p[:room]...)
	if b.drop {
		return len(p), nil
	}
	return room, errTooMuch
}
