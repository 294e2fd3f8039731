package e2e

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// tenantLogins are the passwords of tenants at harbor, by their names there.
var tenantLogins = map[string]string{
	tenantUser: tenantPassword,
	"team-a":   azuretest.Canary + "team-a",
	"team-b":   azuretest.Canary + "team-b",
	"rotated":  azuretest.Canary + "rotated",
}

// nodeLogin is the node's own login at harbor.
const nodeLogin = "/etc/mirrorcred/harbor.json"

// ownSecrets is a map in which pods pull through harbor with their own pull secrets, and
// with these credentials.
func ownSecrets(credentials string) string {
	return fmt.Sprintf(oneMirror+`
[[mirror]]
source  = "quay.io"
targets = [%[1]q]

[registry.%[1]q]
credential = [%[2]s]

[credential.tenants]
kind = "pull-secret"

[credential.node]
kind = "docker-config"
path = %[3]q
`, harbor, credentials, nodeLogin)
}

// login is a docker config.json with one login.
func login(registry, username string) string {
	auth := base64.StdEncoding.EncodeToString([]byte(username + ":" + cmp.Or(tenantLogins[username], azuretest.Canary+"wrong")))
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry, auth)
}

// pullSecret is a secret of a namespace that holds a docker config.json.
func pullSecret(namespace, name, config string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %s, namespace: %s}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '%s'
`, name, namespace, config)
}

// tenantPod is a pod of a namespace that always pulls, with these pull secrets.
func tenantPod(namespace, name, repository string, secrets ...string) string {
	text := strings.NewReplacer("{name: "+name+"}\nspec:", "{name: "+name+", namespace: "+namespace+"}\nspec:", "IfNotPresent", "Always").
		Replace(pod(name, "default", "quay.io/"+repository+":1"))
	for _, secret := range secrets {
		if !strings.Contains(text, "imagePullSecrets:") {
			text = strings.Replace(text, "spec:", "spec:\n  imagePullSecrets:", 1)
		}
		text = strings.Replace(text, "imagePullSecrets:", "imagePullSecrets:\n  - name: "+secret, 1)
	}
	return text
}

// tenantRuns fails the test unless a pod of a namespace is ready within a minute.
func tenantRuns(t *testing.T, k *cluster.Cluster, namespace, name string) {
	t.Helper()
	if err := k.Wait(t.Context(), time.Minute, cluster.Pod(namespace, name), cluster.Ready); err != nil {
		t.Fatalf("%v\n%s", err, k.Events(context.Background(), namespace, name))
	}
}

// loggedIn returns the users with which harbor was asked for a token of a repository since
// the last call, each once.
func loggedIn(t *testing.T, repository string) []string {
	t.Helper()
	var users []string
	for _, r := range world.acr[harbor].Requests() {
		user := r.Form.Get("username")
		if strings.Contains(r.Form.Get("scope"), "repository:"+repository+":") && user != "" && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	world.acr[harbor].Forget()
	return users
}

func wantLogin(t *testing.T, repository string, want ...string) {
	t.Helper()
	if got := loggedIn(t, repository); !slices.Equal(got, want) {
		t.Errorf("harbor was asked for %s by %q; want %q", repository, got, want)
	}
}

// noted fails the test unless the plugin's log has a text.
func noted(t *testing.T, want string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "events").CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("mirrorcred events: %v, %s; want %q", err, out, want)
	}
}

// asked returns what the plugin asked the API server for: verb, resource, namespace/name.
func asked(t *testing.T, k *cluster.Cluster) []string {
	t.Helper()
	events, err := k.Audit()
	check(t, err)
	var list []string
	for _, e := range events {
		if e.UserAgent == "mirrorcred" {
			list = append(list, fmt.Sprintf("%s %s %s/%s by %s: %d", e.Verb, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.User.Username, e.ResponseStatus.Code))
		}
	}
	return list
}

// Two tenants of one node pull one image of one name, each with its own login at the
// mirror, from a secret of one name in its own namespace. Without the cluster's rule, which
// "mirrorcred rbac" prints, no pod gets it. The API server sees the plugin read the node's
// own pods, and the secrets that they name, and nothing else.
func TestTenants(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	c := startContainerd(t, versions()[0])
	write(t, nodeLogin, login(harbor, tenantUser))
	check(t, os.Chmod(nodeLogin, 0o600))
	said := apply(t, ownSecrets(`"tenants", "node"`), 0)
	if !strings.Contains(said, "mirrorcred rbac | kubectl apply -f -") {
		t.Errorf("mirrorcred apply does not name mirrorcred rbac:\n%s", said)
	}
	for _, repository := range []string{"app/shared", "app/account", "app/none", "app/strict", "app/source", "app/rotated", "app/static", "app/gone"} {
		push(t, harbor, repository, "1")
	}
	joinCluster(t, k, c)
	apply(t, ownSecrets(`"tenants", "node"`), 0) // the route gets the kubelet's kubeconfig
	for _, team := range []string{"a", "b"} {
		check(t, k.Apply(t.Context(), "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+team+"}\n"))
		check(t, k.Wait(t.Context(), time.Minute, "/api/v1/namespaces/"+team+"/serviceaccounts/default", cluster.Exists))
		check(t, k.Apply(t.Context(), pullSecret(team, "pull", login(harbor, "team-"+team))))
	}

	t.Run("without the rule", func(t *testing.T) {
		check(t, k.Apply(t.Context(), tenantPod("a", "early", "app/shared", "pull")))
		tenantRuns(t, k, "a", "early")
		wantLogin(t, "app/shared", tenantUser)
		if got := asked(t, k); len(got) > 0 {
			t.Errorf("the API server was asked for %q", got)
		}
		if findings(t, "token-rbac") == 0 {
			t.Error("mirrorcred check does not report token-rbac")
		}
	})
	rules, err := exec.CommandContext(t.Context(), program("mirrorcred"), "rbac").Output()
	check(t, err)
	check(t, k.Apply(t.Context(), string(rules)))

	t.Run("each its own", func(t *testing.T) {
		for _, team := range []string{"a", "b"} {
			check(t, k.Apply(t.Context(), tenantPod(team, "web", "app/shared", "pull")))
			tenantRuns(t, k, team, "web")
			wantLogin(t, "app/shared", "team-"+team)
			noted(t, `pod `+team+`/web: login for `+harbor+` in secret "pull"`)
		}
	})
	t.Run("none", func(t *testing.T) {
		check(t, k.Apply(t.Context(), tenantPod("a", "none", "app/none")))
		tenantRuns(t, k, "a", "none")
		wantLogin(t, "app/none", tenantUser)
		noted(t, "pod a/none: no pull secret for "+harbor)
		wantRecord(t, "quay.io/app/none", "every pod")
	})
	t.Run("the account's", func(t *testing.T) {
		check(t, k.Apply(t.Context(), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: b}\nimagePullSecrets: [{name: pull}]\n"))
		check(t, k.Apply(t.Context(), tenantPod("b", "account", "app/account")))
		tenantRuns(t, k, "b", "account")
		wantLogin(t, "app/account", "team-b")
		wantRecord(t, "quay.io/app/account", "account default")
	})
	t.Run("the source's besides", func(t *testing.T) {
		check(t, k.Apply(t.Context(), pullSecret("a", "wrong", login("quay.io", "stranger"))))
		check(t, k.Apply(t.Context(), tenantPod("a", "source", "app/source", "pull", "wrong")))
		tenantRuns(t, k, "a", "source")
		noted(t, `secret "wrong" has a login for quay.io, which the kubelet offers to the mirror first`)
		if got := loggedIn(t, "app/source"); len(got) == 0 || got[len(got)-1] != "team-a" {
			t.Errorf("harbor was asked by %q; want team-a last", got)
		}
	})
	t.Run("rotated", func(t *testing.T) {
		check(t, k.Apply(t.Context(), pullSecret("a", "pull", login(harbor, "rotated"))))
		check(t, k.Apply(t.Context(), tenantPod("a", "rotated", "app/rotated", "pull")))
		tenantRuns(t, k, "a", "rotated")
		wantLogin(t, "app/rotated", "rotated")
	})
	ctx := t.Context()
	t.Run("no API server", func(t *testing.T) {
		k.StopAPIServer()
		check(t, node.RunPod("static", "quay.io/app/static:1"))
		runs(t, c, "static")
		wantLogin(t, "app/static", tenantUser)
		// The kubelet gets no token for the pod, and without one it does not run the
		// provider of the pod's logins.
		check(t, c.StopContainers(ctx, "rotated"))
		runs(t, c, "rotated")
		wantLogin(t, "app/rotated", tenantUser)
		check(t, node.RemovePod("static"))
		check(t, k.StartAPIServer(ctx))
		check(t, k.Wait(ctx, time.Minute, cluster.Node, cluster.Ready))
	})
	t.Run("strict", func(t *testing.T) {
		applyAny(t, ownSecrets(`"tenants"`)) // the kubelet may have to restart, for what it no longer asks
		check(t, k.Apply(t.Context(), pod("strict", "default", "quay.io/app/strict:1")))
		podWaits(t, k, "strict")
		noted(t, "pod default/strict: no pull secret for "+harbor)
		wantLogin(t, "app/strict")
	})
	t.Run("not in force", func(t *testing.T) {
		check(t, os.Remove("/etc/containerd/certs.d/quay.io/hosts.toml"))
		check(t, k.Apply(t.Context(), tenantPod("default", "gone", "app/gone")))
		podWaits(t, k, "gone")
		// The pod before it still tries from time to time, and may just have asked.
		for _, one := range asked(t, k) {
			if strings.Contains(one, "default/gone ") {
				t.Errorf("without hosts.toml, the API server was asked for %s", one)
			}
		}
		wantLogin(t, "app/gone")
	})
	checkAsked(t, asked(t, k))
	notIn(t, []string{stateDir, "/run/mirrorcred", "/var/log/mirrorcred"}, azuretest.Canary+"team", azuretest.Canary+"rotated")
	unoffered(t, "quay.io")
}

// checkAsked fails the test unless the plugin asked for single pods and secrets of the
// node's own pods, as the node.
func checkAsked(t *testing.T, list []string) {
	t.Helper()
	if len(list) == 0 {
		t.Error("the API server was asked for nothing")
	}
	for _, one := range list {
		var verb, resource, name, by, user string
		var code int
		if _, err := fmt.Sscanf(one, "%s %s %s %s %s %d", &verb, &resource, &name, &by, &user, &code); err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		namespace, object, _ := strings.Cut(name, "/")
		secrets := []string{"pull", "wrong"}
		if verb != "get" || user != "system:node:node:" || !slices.Contains([]string{"a", "b", "default"}, namespace) || object == "" ||
			resource != "pods" && !(resource == "secrets" && slices.Contains(secrets, object)) {
			t.Errorf("the API server was asked for %s", one)
		}
	}
}
