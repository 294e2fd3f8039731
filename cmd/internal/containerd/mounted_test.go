package containerd

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMountedAsContainerdSees holds that the mounts of containerd's own namespace
// count: mirrorcred's service has more, because its sandbox mounts each directory
// that it may write to over itself.
func TestMountedAsContainerdSees(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "my etc/config.toml")
	proc := filepath.Join(dir, "proc")
	for _, d := range []string{filepath.Dir(config), filepath.Join(proc, "7"), filepath.Join(proc, "8")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const root = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	for pid, text := range map[string]string{
		"7": root,
		"8": root + `30 21 254:0 /x ` + dir + `/my\040etc rw - ext4 /dev/vda rw` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(proc, pid, "mountinfo"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := Observer{sys: &system{proc: proc}}
	for pid, want := range map[int]string{7: "", 8: filepath.Dir(config), 9: ""} {
		if got := o.mounted(pid, []string{config}); got != want {
			t.Errorf("mounted(%d) = %q; want %q", pid, got, want)
		}
	}
	// A mount that only this process sees is not a mount for the other.
	const shm = "/dev/shm"
	if is, at := mountPoint(o.tree(), shm); is && at == shm {
		if got := o.mounted(7, []string{shm + "/x"}); got != "" {
			t.Errorf("a mount of this process's namespace alone counts: %q", got)
		}
		if got := o.mounted(9, []string{shm + "/x"}); got != shm {
			t.Errorf("mounted = %q for a process whose mounts are unknown; want %q", got, shm)
		}
	}
}
