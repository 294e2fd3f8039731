package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/cluster"
)

// nodeMounts are the directories of the node that mirrorcred reads and writes.
var nodeMounts = []string{"/etc/containerd", "/etc/mirrorcred", "/etc/kubernetes", "/run/containerd", "/run/mirrorcred", "/var/lib/kubelet", stateDir}

// applyPod is a pod that runs "mirrorcred apply" on the node's directories, once.
func applyPod(name string, hostPID bool, security string) string {
	var mounts, volumes strings.Builder
	for i, dir := range nodeMounts {
		if dir == "/run/containerd" && name == "no-socket" {
			continue
		}
		fmt.Fprintf(&mounts, "    - {name: v%d, mountPath: %s}\n", i, dir)
		fmt.Fprintf(&volumes, "  - {name: v%d, hostPath: {path: %s, type: DirectoryOrCreate}}\n", i, dir)
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  hostPID: %[2]t
  restartPolicy: Never
  automountServiceAccountToken: false
  containers:
  - name: %[1]s
    image: mcr.microsoft.com/tools/mirrorcred:1
    args: [apply, --detailed-exitcode]
    securityContext: {%[3]s}
    volumeMounts:
%[4]s  volumes:
%[5]s`, name, hostPID, security, mounts.String(), volumes.String())
}

// ended waits until a pod of one container has ended, and returns its exit code and
// what it printed.
func ended(t *testing.T, k *cluster.Cluster, name string) (code int, printed string) {
	t.Helper()
	var o struct {
		Metadata struct{ UID string }
		Status   struct {
			Phase             string
			ContainerStatuses []struct {
				State struct{ Terminated *struct{ ExitCode int } }
			}
		}
	}
	err := k.Wait(t.Context(), time.Minute, cluster.Pod("default", name), func(pod cluster.Object) error {
		if err := pod.Into(&o); err != nil {
			return err
		}
		if list := o.Status.ContainerStatuses; len(list) == 0 || list[0].State.Terminated == nil {
			return errors.New("it has not ended")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, k.Events(context.Background(), "default", name))
	}
	log, err := os.ReadFile(filepath.Join("/run/log/pods", "default_"+name+"_"+o.Metadata.UID, name, "0.log"))
	check(t, err)
	return o.Status.ContainerStatuses[0].State.Terminated.ExitCode, string(log)
}

// A pod is not taken for the node. "mirrorcred apply" in a pod with PIDs of its own
// cannot see the process that listens at containerd's socket, and says so; a dry run,
// which goes on without that, sees no kubelet, and says that it cannot know whether one
// runs. With the host's PIDs it sees the node's kubelet and what that has read.
//
// What it replaces keeps its owner and group, and if the pod may not give it back, it
// stays as it is.
func TestPodIsNotTheNode(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	image, err := imageOf("mirrorcred", "mirror-credential-provider")
	check(t, err)
	_, err = world.acr[contoso].Push("tools/mirrorcred", "1", image)
	check(t, err)
	check(t, errors.Join(os.Chown(providerConfig, 0, 1000), os.Chmod(providerConfig, 0o640)))
	joinCluster(t, k, c)
	run := func(name string, hostPID bool, security string, want int) string {
		t.Helper()
		check(t, k.Apply(t.Context(), applyPod(name, hostPID, security)))
		code, said := ended(t, k, name)
		if code != want {
			t.Errorf("mirrorcred apply in the pod %s exits %d; want %d\n%s", name, code, want, said)
		}
		return said
	}
	const cannotKnow = "cannot tell whether a kubelet runs here"

	if said := run("same-map", true, "", 0); !strings.Contains(said, "in sync") {
		t.Errorf("a pod with the host's PIDs does not say that the node is in sync:\n%s", said)
	}
	write(t, mapFile, oneMirror+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
	before, err := os.ReadFile(providerConfig)
	check(t, err)
	if said := run("powerless", true, "capabilities: {drop: [ALL]}", 1); !strings.Contains(said, "CAP_CHOWN") {
		t.Errorf("a pod without capabilities does not say that it may not keep the file's group:\n%s", said)
	}
	if after, err := os.ReadFile(providerConfig); err != nil || string(after) != string(before) {
		t.Errorf("a pod without capabilities changed %s, %v", providerConfig, err)
	}
	if said := run("own-pids", false, "", 1); !strings.Contains(said, "in a PID namespace that cannot be seen from here") || !strings.Contains(said, "in a pod with hostPID: true") {
		t.Errorf("a pod with PIDs of its own does not say that it cannot see containerd's process:\n%s", said)
	}
	if said := run("no-socket", false, "", 2); !strings.Contains(said, cannotKnow) || !strings.Contains(said, "pending  quay.io") {
		t.Errorf("a pod with PIDs of its own does not say that it cannot know whether a kubelet runs, and that quay.io is pending:\n%s", said)
	}
	if said := run("host-pids", true, "", 2); strings.Contains(said, cannotKnow) || !strings.Contains(said, "pending  quay.io: the kubelet (process") {
		t.Errorf("a pod with the host's PIDs does not see the kubelet:\n%s", said)
	}
	info, err := os.Stat(providerConfig)
	check(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 1000 || info.Mode() != 0o640 {
		t.Errorf("%s belongs to %d:%d with mode %v; want 0:1000 with 0640", providerConfig, st.Uid, st.Gid, info.Mode())
	}
	if data, err := os.ReadFile(providerConfig); err != nil || !strings.Contains(string(data), "quay.io") {
		t.Errorf("%s is %s, %v; want quay.io in it", providerConfig, data, err)
	}
}
