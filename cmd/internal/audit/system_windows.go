package audit

import (
	"errors"
	"io/fs"
	"os"
)

// DefaultFile is where the plugin writes, unless it is told otherwise.
const DefaultFile = `C:\var\log\mirrorcred\plugin.jsonl`

// noFollow is empty: no flag of open refuses a link; see followed.
const noFollow = 0

// followed reports whether a link led to the open file: then what is at the path
// is not the file itself.
func followed(path string, opened fs.FileInfo) bool {
	there, err := os.Lstat(path)
	return err != nil || !os.SameFile(there, opened)
}

// tryLock never has the lock: an open file cannot be renamed here. So a full log
// is not moved away; it takes no more lines once it has twice its size.
func tryLock(*os.File) bool { return false }

// hasSockets returns why a run cannot be sent to a datagram socket.
func hasSockets() error {
	return errors.New("Windows has no datagram sockets with a path; name a file, or \"\" for no log")
}

func sendTo(string, []byte) error { return hasSockets() }
