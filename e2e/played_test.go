package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/cluster"
)

// playNodes adds nodes to a cluster that run no program. Until the test ends, each
// reports that it is up, has every pod that is given to it ready, and lets it go when
// it is deleted.
func playNodes(t *testing.T, k *cluster.Cluster, ring string, names ...string) {
	t.Helper()
	client := k.Client // another one later, when the API server was restarted
	for _, name := range names {
		check(t, client.Do(t.Context(), http.MethodPost, "/api/v1/nodes", map[string]any{
			"apiVersion": "v1", "kind": "Node",
			"metadata": map[string]any{"name": name, "labels": map[string]any{"kubernetes.io/os": "linux", "mirrorcred.io/ring": ring}},
			"status": map[string]any{
				"allocatable": map[string]any{"cpu": "4", "memory": "8Gi", "pods": "110"},
				"capacity":    map[string]any{"cpu": "4", "memory": "8Gi", "pods": "110"},
				"conditions":  isReady(),
			},
		}, nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var player sync.WaitGroup
	player.Go(func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for n := 1; ; n++ {
			for _, name := range names {
				if n%50 == 0 { // the controllers give a node up after 40 s
					_ = client.Do(ctx, http.MethodPatch, "/api/v1/nodes/"+name+"/status", map[string]any{"status": map[string]any{"conditions": isReady()}}, nil)
				}
				playPods(ctx, client, name)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	t.Cleanup(func() { cancel(); player.Wait() })
}

// playPods does the work of a node's kubelet. It has no errors: the API server may be
// stopped.
func playPods(ctx context.Context, client *cluster.Client, node string) {
	var list struct{ Items []cluster.Object }
	if client.Do(ctx, http.MethodGet, "/api/v1/pods?fieldSelector=spec.nodeName="+node, nil, &list) != nil {
		return
	}
	for _, o := range list.Items {
		path := cluster.Pod(o.Text("metadata", "namespace"), o.Text("metadata", "name"))
		switch {
		case o.Text("metadata", "deletionTimestamp") != "":
			_ = client.Delete(ctx, path)
		case cluster.Ready(o) != nil:
			_ = client.Do(ctx, http.MethodPatch, path+"/status", map[string]any{"status": map[string]any{"phase": "Running", "conditions": isReady()}}, nil)
		}
	}
}

// isReady are the conditions of a node or a pod that is ready.
func isReady() []map[string]any {
	now := time.Now().UTC().Format(time.RFC3339)
	return []map[string]any{{"type": "Ready", "status": "True", "reason": "Played", "message": "", "lastTransitionTime": now, "lastHeartbeatTime": now}}
}

// labelNode gives a node a ring; "" takes it away.
func labelNode(t *testing.T, k *cluster.Cluster, node, ring string) {
	t.Helper()
	var value any = ring
	if ring == "" {
		value = nil
	}
	check(t, k.Do(t.Context(), http.MethodPatch, "/api/v1/nodes/"+node,
		map[string]any{"metadata": map[string]any{"labels": map[string]any{"mirrorcred.io/ring": value}}}, nil))
}

// ringPath is the path of a ring's DaemonSet.
func ringPath(ring string) string {
	return "/apis/apps/v1/namespaces/mirrorcred/daemonsets/mirrorcred-" + ring
}

// rolledOut is the condition that a DaemonSet has that many pods, all of its newest
// revision and available, as "kubectl rollout status" has it.
func rolledOut(pods int) func(cluster.Object) error {
	return func(o cluster.Object) error {
		var d struct {
			Metadata struct{ Generation int }
			Status   struct{ ObservedGeneration, DesiredNumberScheduled, UpdatedNumberScheduled, NumberAvailable int }
		}
		if err := o.Into(&d); err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration < d.Metadata.Generation || s.DesiredNumberScheduled != pods || s.UpdatedNumberScheduled != pods || s.NumberAvailable != pods {
			return fmt.Errorf("generation %d with %+v; want %d pods, all updated and available", d.Metadata.Generation, s, pods)
		}
		return nil
	}
}

// A ringPod is a pod of a ring.
type ringPod struct {
	Metadata struct{ Name, UID, DeletionTimestamp string }
	Spec     struct {
		NodeName string
		Volumes  []struct {
			ConfigMap *struct{ Name string }
		}
	}
	Status struct{ PodIP string }
	object cluster.Object
}

// configMap returns the name of the ConfigMap with the pod's map.
func (p ringPod) configMap() string {
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap != nil {
			return v.ConfigMap.Name
		}
	}
	return ""
}

// podsOf returns the pods of a ring that are not being deleted, by node.
func podsOf(ctx context.Context, k *cluster.Cluster, ring string) (map[string]ringPod, error) {
	var list struct{ Items []cluster.Object }
	if err := k.Do(ctx, http.MethodGet, "/api/v1/namespaces/mirrorcred/pods?labelSelector=mirrorcred.io/ring="+ring, nil, &list); err != nil {
		return nil, err
	}
	pods := map[string]ringPod{}
	for _, o := range list.Items {
		p := ringPod{object: o}
		if err := o.Into(&p); err != nil {
			return nil, err
		}
		if p.Metadata.DeletionTimestamp == "" {
			pods[p.Spec.NodeName] = p
		}
	}
	return pods, nil
}
