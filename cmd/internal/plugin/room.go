package plugin

import (
	"fmt"
	"strings"
	"syscall"
)

// withLimit adds what to do to an error that comes from too few file
// descriptors. Some errors keep only the text.
func withLimit(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, syscall.EMFILE.Error()):
		return fmt.Errorf("%w; raise the limit of open files for the kubelet, such as by LimitNOFILE= in its unit", err)
	case strings.Contains(text, syscall.ENFILE.Error()):
		return fmt.Errorf("%w; the node has no open files left: see /proc/sys/fs/file-nr, and raise fs.file-max", err)
	}
	return err
}
