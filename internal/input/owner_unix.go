//go:build unix

package input

import (
	"io/fs"
	"os"
	"syscall"
)

// Stranger returns the user that a file belongs to, and whether that is neither
// root nor the user that runs this program: such a user can read and change the
// file, whatever its mode.
func Stranger(info fs.FileInfo) (uid int64, is bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	uid = int64(st.Uid)
	return uid, uid != 0 && uid != int64(os.Geteuid())
}
