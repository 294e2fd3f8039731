package box

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Addresses that the box has on its loopback device. No program listens at them
// until a test has one do so.
const (
	Metadata  = "169.254.169.254" // a cloud's metadata service
	Node      = "10.0.0.1"        // the node, for programs that refuse 127.0.0.1
	APIServer = "10.96.0.1"       // the first address of a cluster's services
)

// build turns fresh namespaces into a machine of its own.
func build() error {
	g := groups{os.Getenv(groupsVariable)}
	for _, step := range []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return mountAt("proc", "/proc", "") },
		func() error { return os.WriteFile("/proc/self/comm", []byte("init"), 0) }, // as on every machine
		g.enter,
		g.mount,
		disks,
		tunables,
		loopback,
		func() error { return unix.Sethostname([]byte("node")) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func mountAt(kind, dir, options string) error {
	if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", kind, dir, err)
	}
	return nil
}

// Units is where packages have their units. A box begins with none: those of the
// machine outside are not its own.
const Units = "/usr/lib/systemd/system"

// room is where the box's own files are. UsrLayer has what has changed in /usr.
const (
	room     = "/dev/shm"
	UsrLayer = room + "/usr"
)

// disks lays something of the box's own over each directory that a node's
// daemons and installers write to: over /etc, /var, /opt and /usr with what is
// there shining through.
func disks() error {
	if err := mountAt("tmpfs", room, "mode=755"); err != nil {
		return err
	}
	for _, name := range []string{"etc", "var", "opt", "usr"} {
		upper, work := filepath.Join(room, name), filepath.Join(room, name+".work")
		for _, dir := range []string{upper, work} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		options := fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s", name, upper, work)
		if err := mountAt("overlay", "/"+name, options); err != nil {
			return err
		}
	}
	// containerd's snapshots are overlays too, which cannot be stacked so.
	for _, dir := range []string{"/run", "/var/lib/containerd", "/var/lib/kubelet", Units} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := mountAt("tmpfs", dir, "mode=755"); err != nil {
			return err
		}
	}
	// /tmp itself stays: this program and the tree it tests may be in it.
	os.Setenv("TMPDIR", "/run/tmp")
	return os.Mkdir("/run/tmp", 0o1777)
}

// tunables shows the kubelet the values that it would set. They are the whole
// machine's, and no namespace holds them (pkg/kubelet/cm,
// setupKernelTunables, in Kubernetes v1.36.3).
func tunables() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(room, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		target := filepath.Join("/proc/sys", name)
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over %s: %w", target, err)
		}
	}
	return nil
}

// loopback brings up the one network device of the box, and gives it its
// addresses besides 127.0.0.0/8.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	for i, address := range []string{Metadata, Node, APIServer} {
		if err := addAddress(fd, fmt.Sprintf("lo:%d", i+1), address); err != nil {
			return fmt.Errorf("give %s to lo: %w", address, err)
		}
	}
	return nil
}

// addAddress gives a device one address, without a network around it: Linux
// would take a whole network on lo for its own.
func addAddress(fd int, alias, address string) error {
	request, err := unix.NewIfreq(alias)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(netip.MustParseAddr(address).AsSlice()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request); err != nil {
		return err
	}
	if err := request.SetInet4Addr([]byte{255, 255, 255, 255}); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, request)
}
