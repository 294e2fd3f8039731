package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Where a node has containerd.
const (
	ContainerdConfig = "/etc/containerd/config.toml"
	HostsDir         = "/etc/containerd/certs.d"
	Socket           = "/run/containerd/containerd.sock"
	logs             = "/run/log"
)

// A Containerd is a running containerd.
type Containerd struct {
	*process // nil if a service manager runs it
	Version  string
	Images   cri.ImageServiceClient
	Runtime  cri.RuntimeServiceClient
	conn     *grpc.ClientConn
}

// Config returns a config.toml for a version of containerd, with config_path
// and the sandbox image as given.
//
// Without CAP_SYS_RESOURCE, as in most sandboxes, runc cannot lower an
// oom_score_adj; restrict_oom_score_adj has containerd not ask for it. The
// socket of NRI would be the same for each containerd in a box.
func Config(version, configPath, sandboxImage string) string {
	if strings.HasPrefix(version, "1.") {
		return fmt.Sprintf(`version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %q
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = %q
`, sandboxImage, configPath)
	}
	return fmt.Sprintf(`version = 3

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true

[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = %q

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = %q
`, sandboxImage, configPath)
}

// A Place is where a containerd has its files. The zero Place is where a node
// has them; others are for containerds beside that one, which read the same
// registry configuration.
type Place struct {
	name   string
	inside *Systemd // whose namespaces it runs in; nil for the box's
}

// Inside returns the usual place, on the machine that a systemd manages.
func Inside(s *Systemd) Place { return Place{inside: s} }

// Beside returns a place of that name.
func Beside(name string) Place { return Place{name: name} }

func (p Place) root() string {
	if p.name == "" {
		return "/var/lib/containerd"
	}
	return filepath.Join("/run/beside", p.name, "root")
}

func (p Place) state() string {
	if p.name == "" {
		return filepath.Dir(Socket)
	}
	return filepath.Join("/run/beside", p.name, "state")
}

func (p Place) config() string {
	if p.name == "" {
		return ContainerdConfig
	}
	return filepath.Join("/run/beside", p.name, "config.toml")
}

// StartContainerd starts the containerd whose programs are in bin, with
// config as its config.toml, or what is there if config is empty, and nothing
// in its store, and waits until it answers.
func StartContainerd(ctx context.Context, bin, config string, place Place) (*Containerd, error) {
	if err := clean(place.root(), place.state()); err != nil {
		return nil, err
	}
	for _, dir := range []string{HostsDir, logs, place.root()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if config != "" {
		if err := os.WriteFile(place.config(), []byte(config), 0o644); err != nil {
			return nil, err
		}
	}
	// The kernel stamps files and processes by a coarse clock, and a file that is
	// as old as the process may have come after it.
	time.Sleep(50 * time.Millisecond)
	version := strings.TrimPrefix(filepath.Base(bin), "containerd-")
	log := filepath.Join(logs, "containerd-"+version+".log")
	socket := filepath.Join(place.state(), filepath.Base(Socket))
	// containerd looks for its shim on the PATH.
	args := []string{filepath.Join(bin, "containerd"),
		"--config=" + place.config(), "--root=" + place.root(), "--state=" + place.state(), "--address=" + socket}
	if place.inside != nil {
		args = append([]string{"nsenter", "--target=" + strconv.Itoa(place.inside.cmd.Process.Pid), "--pid", "--mount"}, args...)
	}
	p, err := start(log, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, args[0], args[1:]...)
	if err != nil {
		return nil, err
	}
	c, err := connect(version, socket)
	if err != nil {
		p.stop()
		return nil, err
	}
	c.process = p
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.ready(ctx, c.Answers); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// ConnectContainerd returns the containerd of a version in the usual place, which
// a service manager runs: it need not be up yet, and may be restarted.
func ConnectContainerd(version string) (*Containerd, error) { return connect(version, Socket) }

func connect(version, socket string) (*Containerd, error) {
	// Not gRPC's own second between two tries: containerd is up sooner.
	soon := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon}))
	if err != nil {
		return nil, err
	}
	return &Containerd{nil, version, cri.NewImageServiceClient(conn), cri.NewRuntimeServiceClient(conn), conn}, nil
}

// Stop ends containerd, unless a service manager runs it, and waits for it; a
// second Stop does nothing. What its shims hold ends with the box.
func (c *Containerd) Stop() {
	c.conn.Close()
	if c.process != nil {
		c.stop()
	}
}

// Answers has no error if the CRI answers.
func (c *Containerd) Answers(ctx context.Context) error {
	_, err := c.Images.ListImages(ctx, &cri.ListImagesRequest{})
	return err
}

// Pull pulls an image as the kubelet has it pulled, with auth for its registry
// or nil.
func (c *Containerd) Pull(ctx context.Context, image string, auth *cri.AuthConfig) error {
	_, err := c.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}, Auth: auth})
	return err
}

// Has has no error if an image is there.
func (c *Containerd) Has(ctx context.Context, image string) error {
	status, err := c.Images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err == nil && status.Image == nil {
		err = fmt.Errorf("there is no image %s", image)
	}
	return err
}

// clean empties directories without removing them: some are mounts. What is mounted
// below them is unmounted: a kubelet that was stopped leaves the volumes of its pods.
func clean(dirs ...string) error {
	for _, dir := range dirs {
		if err := unmountBelow(dir); err != nil {
			return err
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmountBelow unmounts what is mounted below a directory, the newest first.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(strings.Split(string(data), "\n")) {
		// The fifth field is the mount point (proc_pid_mountinfo(5)).
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], filepath.Clean(dir)+"/") {
			continue
		}
		if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", fields[4], err)
		}
	}
	return nil
}

// Running waits until a container of that name runs.
func (c *Containerd) Running(ctx context.Context, name string) error {
	return Until(ctx, func() error {
		list, err := c.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
		if err != nil {
			return err
		}
		for _, one := range list.Containers {
			if one.Metadata.Name == name && one.State == cri.ContainerState_CONTAINER_RUNNING {
				return nil
			}
		}
		return fmt.Errorf("no container %q runs", name)
	})
}

// StopContainers ends the containers of that name, as if each had failed.
func (c *Containerd) StopContainers(ctx context.Context, name string) error {
	list, err := c.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	for _, one := range list.Containers {
		if one.Metadata.Name != name {
			continue
		}
		if _, err := c.Runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: one.Id, Timeout: 1}); err != nil {
			return err
		}
	}
	return nil
}

// RemovePods ends and removes all pods.
func (c *Containerd) RemovePods(ctx context.Context) error {
	list, err := c.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, one := range list.Items {
		if _, err := c.Runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: one.Id}); err != nil {
			return err
		}
		if _, err := c.Runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: one.Id}); err != nil {
			return err
		}
	}
	return nil
}
