package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// readOnly reports file systems on which nothing can be changed.
func (v *visit) readOnly(m *mirror.Map) {
	for _, dir := range []string{m.Containerd.HostsDir, path.Dir(m.Kubelet.Config), plan.StateDir} {
		for dir != "/" {
			if _, err := v.in.Stat(v.at(dir)); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			dir = path.Dir(dir)
		}
		if v.isReadOnly(v.at(dir)) {
			v.add(doctor.ReadOnly, v.at(dir), "the file system is mounted read-only, so changes of the map and renewed credentials in files do not reach the node",
				"remount it: mount -o remount,rw "+v.at(dir)+"; or change the map where the image is built")
		}
	}
}

// statReadOnly asks the kernel about a directory.
func (v *visit) statReadOnly(dir string) bool {
	const readOnlyMount = 1 // ST_RDONLY
	fd, err := v.in.OpenFD(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Flags&readOnlyMount != 0
}

// strayLabels are the SELinux types of files that were made in a home directory or in
// /tmp and then moved, or never labelled. Services may not run or read such a file.
var strayLabels = []string{"user_home_t", "admin_home_t", "user_tmp_t", "tmp_t", "unlabeled_t", "default_t"}

// labels checks the SELinux labels of the files that services use.
func (v *visit) labels(m *mirror.Map, mapFile string) {
	if !v.enforces() {
		return
	}
	for _, file := range []string{v.at(m.Kubelet.BinDir, plan.PluginName), mapFile, v.at(m.Containerd.HostsDir), v.at(m.Kubelet.Config)} {
		label := v.label(file)
		parts := strings.Split(label, ":")
		if len(parts) < 3 {
			continue
		}
		for _, stray := range strayLabels {
			if parts[2] == stray {
				v.add(doctor.SELinuxLabel, file, fmt.Sprintf("SELinux is enforcing and the file is labelled %s, which the kubelet and containerd may not be allowed to use; pulls then have no credential", stray),
					"restorecon -Rv "+file)
			}
		}
	}
}

// enforces reports whether SELinux is enforcing here, or will be in an image.
func (v *visit) enforces() bool {
	if v.root == "" {
		data, err := v.in.ReadFile("/sys/fs/selinux/enforce", 0)
		return err == nil && strings.TrimSpace(string(data)) == "1"
	}
	data, err := v.in.ReadFile(v.at("/etc/selinux/config"), 0)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "SELINUX=enforcing" {
			return true
		}
	}
	return false
}

// readLabel returns the label of a file, "" if it has none.
func (v *visit) readLabel(file string) string {
	fd, err := v.in.OpenFD(file, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	buffer := make([]byte, 256)
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), "security.selinux", buffer)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(buffer[:n]), "\x00")
}

// skew is how far a file's time may be ahead. Synchronised clocks do not differ by more,
// and Azure accepts no more.
const skew = 5 * time.Minute

// clock looks for files of mirrorcred's that were written in the future.
func (v *visit) clock(m *mirror.Map, mapFile string) {
	log := m.Kubelet.AuditLog
	if !path.IsAbs(log) {
		log = audit.DefaultFile
	}
	for _, file := range []string{mapFile, v.at(plan.StateDir, "state.json"), v.at(log)} {
		info, err := v.in.Stat(file)
		if err != nil {
			continue
		}
		if ahead := info.ModTime().Sub(v.now); ahead > skew {
			v.add(doctor.ClockSkew, file, fmt.Sprintf("it was written %s in the future, so the clock of this node is behind, or was ahead; with a wrong clock certificates and tokens are refused, and pulls fail", ahead.Round(time.Minute)),
				"set the clock, and have a time service keep it; then: touch "+file)
			return
		}
	}
}

// identity compares the node that the state was written on with this one.
func (v *visit) identity() {
	file := v.at(plan.StateDir, "state.json")
	data, err := v.in.ReadFile(file, 0)
	var state plan.State
	if err != nil || json.Unmarshal(data, &state) != nil || state.Machine == "" {
		return
	}
	if here := node.MachineID(v.in, v.root); here != "" && here != state.Machine {
		v.add(doctor.AnotherNode, file, "the state was written on another node, of which this one is a copy: what it remembers of the kubelet and of mirrors that drain is not about this one, so the next apply may wait longer than necessary",
			"mirrorcred apply")
	}
}
