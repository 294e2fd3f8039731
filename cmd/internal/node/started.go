package node

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// readByRunning returns an error where a containerd that does not say what it
// reads was started before one of its configuration files became what it is:
// it has what was there then. Its socket is as old as it is, by the same clock
// as the files.
func readByRunning(socket string, files []string) error {
	started, err := changed(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range files {
		when, err := changed(name)
		if err != nil {
			return err
		}
		if when.After(started) {
			return fmt.Errorf("%s was changed after the running containerd had read it, and containerd does not say what it has; restart containerd", name)
		}
	}
	return nil
}

// changed returns when a file last changed in any way. The time of its content
// alone is kept by "mv" and set back by "cp -p".
func changed(path string) (time.Time, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return time.Time{}, describe(&fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return time.Unix(st.Ctim.Unix()), nil
}
