package node

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Where a node has its kubelet.
const (
	KubeletRoot = "/var/lib/kubelet"
	manifests   = "/etc/kubernetes/manifests"
	kubeletFile = KubeletRoot + "/config.yaml"
	healthz     = "http://127.0.0.1:10248/healthz"
)

// kubeletConfig is that of a kubelet without an API server, which runs static
// pods only, in a sandbox without systemd: on cgroup version 1, without a
// cgroup for each class of pods, and without eviction.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: ` + manifests + `
containerRuntimeEndpoint: unix://` + Socket + `
podLogsDir: ` + logs + `/pods
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
enableServer: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", imagefs.available: "0%"}
fileCheckFrequency: 1s
syncFrequency: 1s
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`

// A Kubelet is a running kubelet.
type Kubelet struct{ *process }

// StartKubelet starts the kubelet in the file named, with further flags, and
// waits until it says that it is healthy.
func StartKubelet(ctx context.Context, file string, flags ...string) (*Kubelet, error) {
	args, err := KubeletArgs(flags...)
	if err != nil {
		return nil, err
	}
	p, err := start(filepath.Join(logs, "kubelet.log"), nil, file, args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.ready(ctx, Healthy); err != nil {
		p.stop()
		return nil, err
	}
	return &Kubelet{p}, nil
}

// KubeletArgs writes what a kubelet needs to start, and returns its arguments
// with further flags.
func KubeletArgs(flags ...string) ([]string, error) {
	for _, dir := range []string{manifests, logs + "/pods"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(kubeletFile, []byte(kubeletConfig), 0o644); err != nil {
		return nil, err
	}
	// What was written within a second of the kubelet's start may have come after
	// it, and then it is not known what the kubelet has read.
	time.Sleep(1100 * time.Millisecond)
	return append([]string{"--config=" + kubeletFile, "--root-dir=" + KubeletRoot, "--hostname-override=node", "--v=2"}, flags...), nil
}

// Healthy fails unless the kubelet that runs says that it is healthy.
func Healthy(ctx context.Context) error { return Answers(healthz)(ctx) }

// Answers returns a probe for a page that is there when a program is ready.
func Answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, answer.Status)
		}
		return nil
	}
}

// Stop ends the kubelet and waits for it. The pods run on.
func (k *Kubelet) Stop() { k.stop() }

// RunPod gives the node's kubelet a static pod of one container, whose image is
// pulled whenever that is started. It is on the node's own network, so that no
// network plugin is needed.
func RunPod(name, image string) error { return runPod(name, image, "Always") }

// RunPodOnce is [RunPod] with an image that is pulled once.
func RunPodOnce(name, image string) error { return runPod(name, image, "IfNotPresent") }

func runPod(name, image, policy string) error {
	pod := fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  namespace: default
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: %[1]s
    image: %[2]s
    imagePullPolicy: %[3]s
`, name, image, policy)
	return RunManifest(name, pod)
}

// RunManifest gives the node's kubelet a static pod as it is written in a manifest.
func RunManifest(name, pod string) error {
	// The kubelet passes over names that begin with a dot.
	temporary := filepath.Join(manifests, "."+name)
	if err := os.WriteFile(temporary, []byte(pod), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(manifests, name+".yaml"))
}

// RemovePod takes a static pod away from the kubelet.
func RemovePod(name string) error { return os.Remove(filepath.Join(manifests, name+".yaml")) }

// RemovePods takes all static pods away from the kubelet.
func RemovePods() error { return clean(manifests) }
