package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// A containerSpec is what runc gets to make a container of: the parts that are rights.
type containerSpec struct {
	Process struct {
		Capabilities    map[string][]string
		NoNewPrivileges bool
	}
	Root   struct{ ReadOnly bool }
	Mounts []struct {
		Destination, Type, Source string
		Options                   []string
	}
	Linux struct {
		Seccomp *struct{ DefaultAction string }
		Devices []any
	}
}

// hostPaths returns the directories of the node in the container, without those that
// the kubelet and containerd make for a pod.
func (s containerSpec) hostPaths() map[string]string {
	paths := map[string]string{}
	for _, m := range s.Mounts {
		made := slices.ContainsFunc([]string{"/var/lib/kubelet/pods/", "/var/lib/containerd/", "/run/containerd/"}, func(dir string) bool { return strings.HasPrefix(m.Source, dir) })
		if m.Type != "bind" || made {
			continue
		}
		mode := "rw"
		if slices.Contains(m.Options, "ro") {
			mode = "ro"
		}
		paths[m.Destination] = m.Source + " " + mode
	}
	return paths
}

// canaryOfNode is in a file with a password beside the node's map.
const canaryOfNode = azuretest.Canary

// hasRights looks at the node's steady container from outside, as containerd has it
// made, and from inside, for what its rights could reach. The node's secrets have
// been used by then.
func (f fleet) hasRights() {
	f.Helper()
	id := f.container("", "courier")
	f.isConfined(id, map[string]string{
		"/etc/mirrorcred/delivered": "/etc/mirrorcred/delivered rw",
		"/run/mirrorcred/status":    "/run/mirrorcred/status ro",
	})
	// The kubelet makes /etc/hosts for each pod.
	want := `writable /etc/hosts
writable /etc/mirrorcred/delivered
writable /etc/mirrorcred/delivered/courier.lock
writable /etc/mirrorcred/delivered/mirrors.toml
socket /run/mirrorcred/status/status.sock
done
`
	if got := f.inspect(id, canaryOfNode); got != want {
		f.Errorf("in the container there is\n%s; want\n%s", got, want)
	}
	if got := f.inspect(id, "mcr.microsoft.com"); !strings.Contains(got, "secret /etc/mirrorcred/delivered/mirrors.toml\n") {
		f.Errorf("inspect does not find the text of the map:\n%s", got)
	}
}

// isConfined fails the test unless containerd made a container with no right but its
// mounts, and with these directories of the node.
func (f fleet) isConfined(id string, hostPaths map[string]string) {
	f.Helper()
	status, err := f.containerd.Runtime.ContainerStatus(f.Context(), &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
	check(f.T, err)
	var info struct {
		PID         int
		RuntimeSpec containerSpec
	}
	check(f.T, json.Unmarshal([]byte(status.Info["info"]), &info))
	spec, name := info.RuntimeSpec, status.Status.Metadata.Name
	for set, list := range spec.Process.Capabilities {
		if len(list) > 0 {
			f.Errorf("the container %s has the %s capabilities %q", name, set, list)
		}
	}
	if !spec.Process.NoNewPrivileges || !spec.Root.ReadOnly || spec.Linux.Seccomp == nil || len(spec.Linux.Devices) > 0 {
		f.Errorf("the container %s has new privileges %v, a read-only root %v, seccomp %v and the devices %v",
			name, !spec.Process.NoNewPrivileges, spec.Root.ReadOnly, spec.Linux.Seccomp, spec.Linux.Devices)
	}
	for _, kind := range []string{"ipc", "mnt", "net", "pid", "uts"} {
		out, err := f.systemd.Command(f.Context(), "readlink", "/proc/1/ns/"+kind, fmt.Sprintf("/proc/%d/ns/%s", info.PID, kind)).Output()
		check(f.T, err)
		if names := strings.Fields(string(out)); len(names) != 2 || names[0] == names[1] {
			f.Errorf("the container %s is in the host's %s namespace: %q", name, kind, names)
		}
	}
	if got := spec.hostPaths(); !maps.Equal(got, hostPaths) {
		f.Errorf("the container %s has the node's directories %q; want %q", name, got, hostPaths)
	}
}

// inspect runs a program in a container that tries everything, and returns what it
// finds. A password lies beside the node's map meanwhile.
func (f fleet) inspect(id, text string) string {
	f.Helper()
	write(f.T, "/etc/mirrorcred/password.json", canaryOfNode)
	answer, err := f.containerd.Runtime.ExecSync(f.Context(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"/usr/bin/inspect", text}, Timeout: 60})
	check(f.T, err)
	if answer.ExitCode != 0 {
		f.Errorf("inspect: exit code %d\n%s", answer.ExitCode, answer.Stderr)
	}
	check(f.T, os.Remove("/etc/mirrorcred/password.json"))
	return string(answer.Stdout)
}

// container returns the id of a running container by its name, of a pod or of any.
func (f fleet) container(pod, name string) string {
	f.Helper()
	var id string
	within(f.T, time.Minute, func() error {
		list, err := f.containerd.Runtime.ListContainers(f.Context(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
			State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
		}})
		if err != nil {
			return err
		}
		for _, c := range list.Containers {
			if c.Metadata.Name == name && (pod == "" || c.Labels["io.kubernetes.pod.name"] == pod) {
				id = c.Id
				return nil
			}
		}
		return fmt.Errorf("no container %s runs", name)
	})
	return id
}
