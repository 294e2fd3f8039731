package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/cluster"
)

// What the world knows of pods.
const (
	podIdentity    = "dddddddd-0000-1111-2222-333333333333" // an application that the account "robot" may act as
	azureAudience  = "api://AzureADTokenExchange"
	harborUser     = "robot$mirror"
	tenantUser     = "tenant"
	tenantPassword = azuretest.Canary + "tenant"
	// renewedPassword is the tenant's other one, as while a password is changed.
	renewedPassword = tenantPassword + "-renewed"
)

// judges is the cluster whose tokens the world accepts, nil if there is none.
var judges atomic.Pointer[cluster.Cluster]

// judge has the cluster's API server say whether a token is for an audience, and belongs
// to one of these service accounts.
func judge(token, audience string, accounts ...string) bool {
	k := judges.Load()
	if k == nil {
		return false
	}
	user, err := k.Review(context.Background(), token, audience)
	return err == nil && slices.Contains(accounts, strings.TrimPrefix(user, "system:serviceaccount:default:"))
}

func acceptedByHarbor(username, password string) bool {
	if own := tenantLogins[username]; own != "" {
		return password == own || username == tenantUser && password == renewedPassword
	}
	return username == harborUser && judge(password, harbor, "robot", "friend")
}

// podTokens is a map in which pods' own tokens get them images: directly at an ACR, and
// through a mirror.
const podTokens = oneMirror + `
[[mirror]]
source  = "quay.io"
targets = ["` + harbor + `"]

[registry."` + partner + `"]
[registry."` + harbor + `"]
credential = "pods"

[credential.azure]
kind      = "azure"
audience  = "` + azureAudience + `"
client_id = "` + podIdentity + `"
tenant_id = "` + azuretest.DefaultTenant + `"

[credential.pods]
kind     = "service-account-token"
username = "` + harborUser + `"
audience = "` + harbor + `"
`

// accounts are the service accounts of these tests. Harbor lets the first two in.
const accounts = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: friend}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger}
`

// pod is a pod of one container that pulls its image unless the node has it.
func pod(name, account, image string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  serviceAccountName: %[2]s
  terminationGracePeriodSeconds: 1
  containers: [{name: %[1]s, image: %[3]q, imagePullPolicy: IfNotPresent}]
`, name, account, image)
}

// audienceRule is the rule in the documentation that lets the nodes ask for tokens, for
// another audience.
func audienceRule(t *testing.T, name, audience string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/credentials.md")
	check(t, err)
	found := regexp.MustCompile("(?s)```yaml\n# rbac\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/credentials.md has no rule")
	}
	return strings.NewReplacer("mirrorcred-harbor.corp", name, "harbor.corp", audience).Replace(string(found[1]))
}

// Pods' own tokens get them images. Without the cluster's rule no image is pulled,
// and "apply" and "check" say so; with it, the pods that waited run: one by workload
// identity at an ACR, one with its token as the password of a mirror.
//
// The kubelet remembers whose credential an image was pulled with, under the name of
// the source (KEP-2535). A pod of another account gets the image only if its own token
// gets it too, though the image is on the node; what came with the node's credential is
// for every pod, and is not pulled again.
func TestPodTokens(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	judges.Store(k)
	t.Cleanup(func() { judges.Store(nil) })
	c := startContainerd(t, versions()[0])
	said := apply(t, podTokens, 0)
	for _, audience := range []string{azureAudience, harbor} {
		if !strings.Contains(said, fmt.Sprintf("request-serviceaccounts-token-audience on the resource %q", audience)) {
			t.Errorf("mirrorcred apply does not remind of the rule for %s:\n%s", audience, said)
		}
	}
	push(t, contoso, "app/hello", "1")
	push(t, partner, "app/direct", "1")
	push(t, harbor, "app/mirrored", "1")
	kubelet := joinCluster(t, k, c)

	check(t, k.Apply(t.Context(), accounts))
	check(t, k.Apply(t.Context(), pod("direct", "robot", partner+"/app/direct:1")))
	check(t, k.Apply(t.Context(), pod("mirrored", "robot", "quay.io/app/mirrored:1")))
	podWaits(t, k, "direct")
	podWaits(t, k, "mirrored")
	if want := fmt.Sprintf("not authorized to request tokens for audience %q", harbor); !strings.Contains(strings.ReplaceAll(kubelet.Log(), `\`, ""), want) {
		t.Errorf("the kubelet does not log %q", want)
	}
	if got := findings(t, "token-rbac"); got == 0 {
		t.Error("mirrorcred check does not report token-rbac without the rules")
	}

	check(t, k.Apply(t.Context(), audienceRule(t, "azure", azureAudience)))
	check(t, k.Apply(t.Context(), audienceRule(t, "harbor", harbor)))
	podRuns(t, k, "direct")
	podRuns(t, k, "mirrored")
	credited(t, partner, "app/direct")
	silent(t, "quay.io")
	if got := findings(t, "token-rbac"); got != 0 {
		t.Errorf("mirrorcred check reports token-rbac %d times after pulls with pods' tokens; want 0", got)
	}
	requested(t, k)
	wantRecord(t, "quay.io/app/mirrored", "account robot")
	wantRecord(t, partner+"/app/direct", "account robot")

	t.Run("another account", func(t *testing.T) {
		check(t, k.Apply(t.Context(), pod("friend", "friend", "quay.io/app/mirrored:1")))
		podRuns(t, k, "friend")
		wantRecord(t, "quay.io/app/mirrored", "account friend", "account robot")
	})
	t.Run("a refused account", func(t *testing.T) {
		check(t, k.Apply(t.Context(), pod("stranger", "stranger", "quay.io/app/mirrored:1")))
		podWaits(t, k, "stranger")
		wantRecord(t, "quay.io/app/mirrored", "account friend", "account robot")
		silent(t, "quay.io")
	})
	t.Run("the node's credential", func(t *testing.T) {
		check(t, k.Apply(t.Context(), pod("first", "robot", "mcr.microsoft.com/app/hello:1")))
		podRuns(t, k, "first")
		credited(t, contoso, "app/hello")
		wantRecord(t, "mcr.microsoft.com/app/hello", "every pod")
		world.acr[contoso].Forget()
		check(t, k.Apply(t.Context(), pod("second", "stranger", "mcr.microsoft.com/app/hello:1")))
		podRuns(t, k, "second")
		for _, r := range world.acr[contoso].Requests() {
			t.Errorf("the image was pulled again: %s %s", r.Method, r.URL)
		}
		silent(t, "mcr.microsoft.com")
	})
}

// podWaits fails the test unless a pod's image fails to be pulled within a minute.
func podWaits(t *testing.T, k *cluster.Cluster, name string) {
	t.Helper()
	err := k.Wait(t.Context(), time.Minute, cluster.Pod("default", name), func(o cluster.Object) error {
		var pod struct {
			Status struct {
				ContainerStatuses []struct {
					Ready bool
					State struct{ Waiting struct{ Reason string } }
				}
			}
		}
		if err := o.Into(&pod); err != nil {
			return err
		}
		for _, one := range pod.Status.ContainerStatuses {
			if reason := one.State.Waiting.Reason; reason == "ErrImagePull" || reason == "ImagePullBackOff" {
				return nil
			}
			if one.Ready {
				t.Fatalf("pod %s runs; want its image refused", name)
			}
		}
		return errors.New("no container's image was refused yet")
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, k.Events(context.Background(), "default", name))
	}
}

// findings returns how often "mirrorcred check" reports a finding.
func findings(t *testing.T, name string) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "check").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.Count(string(out), name)
}

// requested fails the test unless the API server gave the node a token of the pods'
// account.
func requested(t *testing.T, k *cluster.Cluster) {
	t.Helper()
	events, err := k.Audit()
	check(t, err)
	for _, e := range events {
		o := e.ObjectRef
		if e.User.Username == "system:node:node" && o.Resource == "serviceaccounts" && o.Subresource == "token" && o.Name == "robot" && e.ResponseStatus.Code == 201 {
			return
		}
	}
	t.Error("the node was given no token of the account robot")
}

// wantRecord fails the test unless the kubelet's records say that an image was pulled
// by these, in the order of the alphabet.
func wantRecord(t *testing.T, image string, want ...string) {
	t.Helper()
	files, err := filepath.Glob(imageRecords + "/pulled/*")
	check(t, err)
	var records []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		records = append(records, string(data))
		got, ok := pulledBy(t, data, image)
		if !ok {
			continue
		}
		if !slices.Equal(got, want) {
			t.Errorf("the kubelet's record says that %s was pulled by %q; want %q", image, got, want)
		}
		return
	}
	t.Errorf("the kubelet has no record of %s:\n%s", image, strings.Join(records, "\n"))
}

// pulledBy returns whose credentials pulled an image by one record of the kubelet,
// false if it is of another image.
func pulledBy(t *testing.T, record []byte, image string) ([]string, bool) {
	t.Helper()
	var r struct {
		CredentialMapping map[string]struct {
			KubernetesSecrets         []struct{ Name string }
			KubernetesServiceAccounts []struct{ Name string }
			NodePodsAccessible        bool
		}
	}
	check(t, json.Unmarshal(record, &r))
	by, ok := r.CredentialMapping[image]
	var list []string
	for _, s := range by.KubernetesSecrets {
		list = append(list, "secret "+s.Name)
	}
	for _, s := range by.KubernetesServiceAccounts {
		list = append(list, "account "+s.Name)
	}
	if by.NodePodsAccessible {
		list = append(list, "every pod")
	}
	slices.Sort(list)
	return list, ok
}
