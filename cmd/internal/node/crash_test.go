package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A transition is what a map does to a node: from the state that before
// leaves to what the map after asks for.
type transition struct {
	before func(t *testing.T, n *Node, host *fake)
	after  string
	adopt  bool
	// then is what happens besides the new map; nil if nothing does.
	then step
	// held says that the kubelet may hold a credential for the sources of the map, for
	// longer than the transition takes.
	held bool
	// upset says that another program changed something before it, so that pulls may get
	// no credential, or one too many, until a run has ended.
	upset bool
	// runs is how many runs it takes; 0 means one.
	runs int
}

// stride is how many steps lie between two kills: one, but for the many alike
// steps of many mirrors.
func (tr transition) stride() int {
	if strings.Contains(tr.after, "r19.example") {
		return 7
	}
	return 1
}

// apply makes the runs of a transition.
func (tr transition) apply(t *testing.T, n *Node) {
	for range max(1, tr.runs) {
		apply(t, n)
	}
}

// tree returns the files after a transition. What the kubelet's file was before depends on
// which of several runs were killed.
func (tr transition) tree(t *testing.T, n *Node) map[string]string {
	files := tree(t, n.Root, false)
	if tr.runs > 1 {
		delete(files, plan.StateDir+"/kubelet-config.previous")
	}
	return files
}

// check holds a node against what must hold after a transition.
func (tr transition) check(t *testing.T, n *Node, maps []string, when string) {
	checkWhole(t, n, maps, when)
	checkHeld(t, n, tr, when)
}

// checkHalf is [transition.check] before its last run has ended.
func (tr transition) checkHalf(t *testing.T, n *Node, maps []string, when string) {
	if !tr.upset {
		tr.check(t, n, maps, when)
		return
	}
	checkSecrets(t, n, when)
	checkHeld(t, n, tr, when)
}

// faults are the errors of the disk to try: all of them if it is quick.
func (tr transition) faults() []error {
	if tr.after == oneMap {
		return []error{syscall.ENOSPC, syscall.EROFS, syscall.EACCES}
	}
	return []error{syscall.ENOSPC}
}

const secretMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443/hub"]
[registry."harbor.corp:8443/hub"]
credential = "harbor"
header = { X-Hub = { file = "/etc/mirrorcred/harbor.header" } }
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

const sharedMap = `version = 1
[[mirror]]
source = "docker.io"
targets = ["contoso.azurecr.io/hub", "docker.io"]
share_credential = true
[[mirror]]
source = "*"
targets = ["contoso.azurecr.io/any"]
[registry."quay.io:5000"]
`

// manyMap has so many mirrors that they are synced together.
func manyMap(target string) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range 20 {
		fmt.Fprintf(&b, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [%q]\n", i, target)
	}
	return b.String()
}

// in returns a before that applies maps on a node whose kubelet restarts after
// each.
func in(maps ...string) func(*testing.T, *Node, *fake) {
	return func(t *testing.T, n *Node, host *fake) {
		write(t, n.path("/etc/mirrorcred/harbor.header"), "canary-header\n")
		if err := os.Chmod(n.path("/etc/mirrorcred/harbor.header"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, text := range maps {
			write(t, n.Map, text)
			handed(1)(t, n)
			apply(t, n)
			host.startKubelet(theFlags...)
			apply(t, n)
		}
	}
}

// drained lets the drain that the last of the maps begins come to its end.
func drained(maps ...string) func(*testing.T, *Node, *fake) {
	return func(t *testing.T, n *Node, host *fake) {
		in(maps[:len(maps)-1]...)(t, n, host)
		if err := os.MkdirAll(n.path("/var/lib/kubelet/image_manager/pulling"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, n.Map, maps[len(maps)-1])
		handed(1)(t, n)
		apply(t, n)
		host.after(2 * time.Minute)
	}
}

// restarted has the kubelet restart after the last of the maps, and nothing done
// since.
func restarted(maps ...string) func(*testing.T, *Node, *fake) {
	return func(t *testing.T, n *Node, host *fake) {
		in(maps[:len(maps)-1]...)(t, n, host)
		write(t, n.Map, maps[len(maps)-1])
		handed(1)(t, n)
		apply(t, n)
		host.startKubelet(theFlags...)
	}
}

// tokenMap is oneMap and a mirror that is pulled from with the pod's token.
const tokenMap = oneMap + `[[mirror]]
source = "docker.io"
targets = ["harbor.corp:8443/hub"]
[registry."harbor.corp:8443"]
credential = "pods"
[credential.pods]
kind = "service-account-token"
username = "token"
audience = "harbor.corp"
`

var otherTokenMap = strings.Replace(tokenMap, `"harbor.corp"`, `"hub.corp"`, 1)

var transitions = withDelivered(map[string]transition{
	"to tokens":       {before: in(oneMap), after: tokenMap},
	"from tokens":     {before: in(tokenMap), after: oneMap},
	"other token":     {before: in(tokenMap), after: otherTokenMap},
	"first":           {before: in(), after: oneMap},
	"first of many":   {before: in(), after: sharedMap},
	"retarget":        {before: in(oneMap), after: otherMap},
	"to anonymous":    {before: in(oneMap), after: anonymousMap},
	"to secret":       {before: in(oneMap), after: secretMap},
	"from secret":     {before: in(secretMap), after: oneMap},
	"withdraw":        {before: in(oneMap), after: emptyMap},
	"withdraw any":    {before: in(sharedMap), after: oneMap},
	"emptied":         {before: drained(oneMap, emptyMap), after: emptyMap},
	"any gone":        {before: drained(sharedMap, oneMap), after: oneMap},
	"add and remove":  {before: drained(sharedMap, oneMap), after: oneMap + "[registry.\"ghcr.io\"]\n"},
	"anonymous gone":  {before: in(anonymousMap), after: emptyMap},
	"served itself":   {before: drained(oneMap, emptyMap+"[registry.\"mcr.microsoft.com\"]\n"), after: emptyMap + "[registry.\"mcr.microsoft.com\"]\n"},
	"many":            {before: in(), after: manyMap("contoso.azurecr.io")},
	"many retargeted": {before: in(manyMap("contoso.azurecr.io")), after: manyMap("fabrikam.azurecr.io")},
	"many gone":       {before: in(manyMap("mirror.example")), after: emptyMap},
	"adopted": {before: func(t *testing.T, n *Node, host *fake) {
		in(otherMap)(t, n, host)
		write(t, n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"), "server = \"https://mcr.microsoft.com\"\n")
	}, after: oneMap, adopt: true},
	"adopted beside": {before: func(t *testing.T, n *Node, host *fake) {
		in(oneMap)(t, n, host)
		write(t, n.path("/etc/containerd/certs.d/harbor.src:5000/hosts.toml"), "server = \"https://old.example\"\n")
		write(t, n.path("/etc/containerd/certs.d/harbor.src:5000/ca.crt"), "PEM")
	}, after: portMap, adopt: true},
	"adopted certificates": {before: func(t *testing.T, n *Node, host *fake) {
		in(oneMap)(t, n, host)
		write(t, n.path("/etc/containerd/certs.d/harbor.src_5000_/ca.crt"), "PEM")
	}, after: portMap, adopt: true},
	"stock first":       {before: in(), after: stockMap},
	"stock added":       {before: in(stockMap), after: stockMoreMap},
	"stock retargeted":  {before: in(stockMap), after: stockOtherMap},
	"stock withdrawn":   {before: in(stockMap), after: stockEmptyMap},
	"stock to no one":   {before: in(stockMap), after: stockAnonymousMap},
	"stock gone":        {before: restarted(stockMap, stockEmptyMap), after: stockEmptyMap},
	"to stock":          {before: in(tokenMap), after: stockMap},
	"to stock at once":  {before: in(sharedMap), after: stockMoreMap},
	"to stock, done":    {before: restarted(oneMap, stockMap), after: stockMap},
	"from stock":        {before: in(stockMap), after: tokenMap},
	"from stock, done":  {before: restarted(stockMap, oneMap), after: oneMap},
	"from AKS to stock": {before: withUnmapped, after: stockMap},
	"from stock to AKS": {before: func(t *testing.T, n *Node, host *fake) {
		withUnmapped(t, n, host)
		in(stockMap)(t, n, host)
	}, after: oneMap},
	"kubelet's file edited": {before: func(t *testing.T, n *Node, host *fake) {
		in(oneMap)(t, n, host)
		write(t, n.path("/var/lib/kubelet/credential-provider-config.yaml"), otherProvider)
	}, after: otherMap},
})

const otherProvider = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: other
    matchImages: ["other.example"]
    defaultCacheDuration: 0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`

// errKilled is what a step panics with where a kill would have come.
var errKilled = errors.New("killed")

// killAt makes the node's disk stop before its step k as a kill would: no
// cleanup runs.
func killAt(n *Node, k int) {
	count := 0
	n.disk.step = func(string, ...string) error {
		if count++; count == k {
			panic(errKilled)
		}
		return nil
	}
}

// killed applies the map and reports whether it was killed on the way.
func killed(t testing.TB, n *Node) (dead bool) {
	defer func() {
		if r := recover(); r == errKilled {
			dead = true
		} else if r != nil {
			panic(r)
		}
	}()
	apply(t, n)
	return false
}

// TestKilled kills each transition before each of its system calls: the node
// is whole then, and the next run finishes the work.
func TestKilled(t *testing.T) {
	for name, tr := range transitions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh, want := prepare(t, tr)
			for k := 1; ; k += tr.stride() {
				n, maps := fresh(t)
				killAt(n, k)
				dead := killed(t, n)
				n.disk = disk{}
				tr.checkHalf(t, n, maps, fmt.Sprintf("killed at step %d", k))
				if !dead {
					break
				}
				tr.apply(t, n)
				tr.check(t, n, maps, fmt.Sprintf("after the kill at step %d", k))
				sameTree(t, tr.tree(t, n), want)
				if t.Failed() {
					t.Fatalf("killed at step %d", k)
				}
			}
		})
	}
}

// TestEveryError fails each system call of each transition once: the node is
// whole, nothing half built stays, and the next run finishes the work.
func TestEveryError(t *testing.T) {
	for name, tr := range transitions {
		for _, fault := range tr.faults() {
			t.Run(name+"/"+fault.Error(), func(t *testing.T) {
				t.Parallel()
				fresh, want := prepare(t, tr)
				for k := 1; ; k += tr.stride() {
					n, maps := fresh(t)
					count := 0
					n.disk.step = func(op string, paths ...string) error {
						if count++; count == k {
							return describe(&os.PathError{Op: op, Path: paths[len(paths)-1], Err: fault})
						}
						return nil
					}
					_, err := n.Apply(t.Context())
					if count < k {
						break
					}
					if !errors.Is(err, fault) && !strings.Contains(fmt.Sprint(err), "; ") {
						t.Fatalf("step %d: error %v; want one of %v that says what to do", k, err, fault)
					}
					n.disk = disk{}
					tr.checkHalf(t, n, maps, fmt.Sprintf("error at step %d", k))
					tr.apply(t, n)
					sameTree(t, tr.tree(t, n), want)
					if t.Failed() {
						t.Fatalf("error at step %d", k)
					}
				}
			})
		}
	}
}

// copyTree copies a tree with its modes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chmod(to+strings.TrimPrefix(path, from), info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// prepare makes the node of a transition once, and returns a function that
// makes copies of it with the maps of both sides, and the tree at the end.
func prepare(t *testing.T, tr transition) (fresh func(*testing.T) (*Node, []string), want map[string]string) {
	t.Helper()
	n, host := newNode(t, emptyMap)
	tr.before(t, n, host)
	before, err := os.ReadFile(n.Map)
	if err != nil {
		t.Fatal(err)
	}
	write(t, n.Map, tr.after)
	if tr.then != nil {
		tr.then(t, n)
	}
	parent, i := t.TempDir(), 0
	fresh = func(t *testing.T) (*Node, []string) {
		t.Helper()
		i++
		root := filepath.Join(parent, strconv.Itoa(i))
		copyTree(t, n.Root, root)
		machine := *host
		other := &Node{Root: root, Adopt: tr.adopt, host: &machine}
		other.Map = other.path(DefaultMap)
		t.Cleanup(func() { os.RemoveAll(root) })
		return other, []string{string(before), tr.after}
	}
	whole, maps := fresh(t)
	tr.apply(t, whole)
	tr.check(t, whole, maps, "not killed")
	if todo := apply(t, whole); len(todo.Changes) > 0 {
		t.Fatalf("a further run changes %d files", len(todo.Changes))
	}
	return fresh, tr.tree(t, whole)
}

// TestLastingFaultReportedOnce checks that a fault of the disk which lasts has the same words
// each time, so it is reported once.
func TestLastingFaultReportedOnce(t *testing.T) {
	n, _ := newNode(t, oneMap)
	n.disk.step = func(op string, paths ...string) error {
		if op != "write" {
			return nil
		}
		return describe(&os.PathError{Op: op, Path: paths[0], Err: syscall.ENOSPC})
	}
	_, first := n.Apply(t.Context())
	_, second := n.Apply(t.Context())
	if first == nil || second == nil || first.Error() != second.Error() {
		t.Errorf("the faults are %v and then %v; want the same", first, second)
	}
}
