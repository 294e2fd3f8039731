//go:build linux

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/pullsecrettest"
)

const (
	tenantUID = "33333333-aaaa-bbbb-cccc-555555555555"
	tenants   = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443/hub"]
[registry."harbor.corp:8443"]
credential = ["tenants"]
[credential.tenants]
kind = "pull-secret"
timeout = "2s"
[credential.node]
kind = "docker-config"
path = "/etc/mirrorcred/node.json"
`
	asTenants = "--credential=tenants"
)

// tenantRequest is the request for an image of a pod.
func tenantRequest(image, namespace, pod, uid string) string {
	token := pullsecrettest.Token(namespace, pod, uid, "mirrorcred", time.Now().Add(time.Hour))
	return strings.Replace(request(image), "{", `{"serviceAccountToken":"`+token+`",`, 1)
}

// A tenantNode is a node with pods of two tenants, which name a secret of one name.
func tenantNode(t *testing.T, text string) (tree, *pullsecrettest.API) {
	t.Helper()
	api := pullsecrettest.New(t)
	for _, namespace := range []string{"a", "b"} {
		api.Pod(namespace, "web", tenantUID+namespace, "pull")
		api.Login(namespace, "pull", "harbor.corp:8443 of-"+namespace)
	}
	n := plant(t, text)
	writeFile(t, n.root, "/etc/kubernetes/kubelet.conf", api.Kubeconfig(""))
	node := writeFile(t, n.root, "/etc/mirrorcred/node.json", `{"auths":{"harbor.corp:8443":{"username":"node","password":"node"}}}`)
	if err := os.Chmod(node, 0o600); err != nil {
		t.Fatal(err)
	}
	return n, api
}

// usersOf returns the users of an answer in the order in which the kubelet tries them.
func usersOf(t *testing.T, answers ...string) string {
	t.Helper()
	users := map[string]string{}
	var keys, list []string
	for _, answer := range answers {
		var r struct {
			Auth map[string]struct{ Username string }
		}
		if err := json.Unmarshal([]byte(answer), &r); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
		for key, one := range r.Auth {
			users[key] = one.Username
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Backward(keys) {
		list = append(list, users[key])
	}
	return strings.Join(list, " ")
}

// checkTenants checks that the API server was asked only for single pods and secrets,
// and that nothing of a tenant is in the log or the cache.
func checkTenants(t *testing.T, n tree, api *pullsecrettest.API, got result) {
	t.Helper()
	if strange := api.Strange(); len(strange) > 0 {
		t.Errorf("the API server was asked for %q", strange)
	}
	if strings.Contains(got.stderr, pullsecrettest.Canary) {
		t.Errorf("standard error holds a secret: %s", got.stderr)
	}
	for _, dir := range []string{"var", "run"} {
		filepath.WalkDir(filepath.Join(n.root, dir), func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.Contains(string(read(t, path)), pullsecrettest.Canary) {
				t.Errorf("%s holds a secret", path)
			}
			return nil
		})
	}
}

// TestTenants checks that each pod gets its own login, in the order of the list, and
// what the log says.
func TestTenants(t *testing.T) {
	withNode := strings.Replace(tenants, `["tenants"]`, `["tenants", "node"]`, 1)
	nodeFirst := strings.Replace(tenants, `["tenants"]`, `["node", "tenants"]`, 1)
	for _, test := range []struct {
		name, text, namespace string
		set                   func(*pullsecrettest.API)
		want, note            string // the users as the kubelet tries them
	}{
		{"tenant a", withNode, "a", nil, "of-a node", `pod a/web: login for harbor.corp:8443 in secret "pull"`},
		{"tenant b", withNode, "b", nil, "of-b node", "pod b/web: "},
		{"the node's first", nodeFirst, "a", nil, "node of-a", "pod a/web: "},
		{"alone", tenants, "a", nil, "of-a", "pod a/web: "},
		{"no secret", withNode, "a", func(a *pullsecrettest.API) { a.Pod("a", "web", tenantUID+"a") }, "node", "pod a/web: no pull secret for harbor.corp:8443"},
		{"no secret, strict", tenants, "a", func(a *pullsecrettest.API) { a.Pod("a", "web", tenantUID+"a") }, "", "pod a/web: no pull secret for harbor.corp:8443"},
		{"two logins", withNode, "a", func(a *pullsecrettest.API) {
			a.Login("a", "pull", "harbor.corp:8443 general", "harbor.corp:8443/hub special")
		}, "special general node", "pod a/web: "},
		{"the source's login too", withNode, "a", func(a *pullsecrettest.API) {
			a.Login("a", "pull", "harbor.corp:8443 of-a", "mcr.microsoft.com m")
		}, "of-a node", `has a login for mcr.microsoft.com, which the kubelet offers to the mirror first`},
		{"another pod of the name", tenants, "a", func(a *pullsecrettest.API) { a.Pod("a", "web", "other", "pull") }, "", "it was replaced by another pod of its name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cloud, _ := startCloud(t)
			n, api := tenantNode(t, test.text)
			if test.set != nil {
				test.set(api)
			}
			stdin := tenantRequest(mcrImage, test.namespace, "web", tenantUID+test.namespace)
			got := run(t, cloud, names[0], stdin, fromRoute, "--root="+n.root, asTenants, "--audience=mirrorcred")
			own := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root)
			if got.code != 0 || own.code != 0 {
				t.Fatalf("exit codes %d and %d: %s%s", got.code, own.code, got.stderr, own.stderr)
			}
			if users := usersOf(t, got.stdout, own.stdout); users != test.want {
				t.Errorf("the kubelet tries %q; want %q: %s%s", users, test.want, got.stdout, own.stdout)
			}
			events := readEvents(t, n)
			if len(events) < 1 || len(events[0].Targets) != 1 || !strings.Contains(events[0].Targets[0].Note, test.note) {
				t.Errorf("the log says %+v; want %q", events, test.note)
			}
			checkTenants(t, n, api, got)
		})
	}
}

// TestTenantsNoLeak checks that the API server is not even asked unless containerd reads
// the hosts.toml that was rendered for the target.
func TestTenantsNoLeak(t *testing.T) {
	for name, wreck := range map[string]func(*testing.T, tree){
		"missing":    func(t *testing.T, n tree) { os.Remove(n.hosts(mcr)) },
		"torn":       func(t *testing.T, n tree) { os.Truncate(n.hosts(mcr), 10) },
		"edited":     func(t *testing.T, n tree) { appendTo(t, n.hosts(mcr), "# mine\n") },
		"retargeted": func(t *testing.T, n tree) { n.writeHosts(t, toBar) },
		"no route":   func(t *testing.T, n tree) { os.Remove(n.route(mcr)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, _ := startCloud(t)
			n, api := tenantNode(t, tenants)
			wreck(t, n)
			got := run(t, cloud, names[0], tenantRequest(mcrImage, "a", "web", tenantUID+"a"), fromRoute, "--root="+n.root, asTenants, "--audience=mirrorcred")
			if got.code != 1 {
				t.Errorf("exit code %d: %s", got.code, got.stdout)
			}
			if requests := api.Requests(); len(requests) > 0 {
				t.Errorf("the API server was asked for %q", requests)
			}
			checkTenants(t, n, api, got)
		})
	}
}

// TestTenantsFaults checks what the kubelet is told if the API server cannot be asked, and
// how soon; and that nothing needs the API server that is for no pod.
func TestTenantsFaults(t *testing.T) {
	stdin := tenantRequest(mcrImage, "a", "web", tenantUID+"a")
	for name, test := range map[string]struct {
		set   func(*testing.T, tree, *pullsecrettest.API)
		stdin string
		want  string
	}{
		"down": {func(t *testing.T, n tree, a *pullsecrettest.API) { a.Close() }, stdin, "refuses connections; check that it runs"},
		"slow": {func(t *testing.T, n tree, a *pullsecrettest.API) { a.Delay(time.Minute) }, stdin, "gives no answer; check that it runs, and the node's network (given up after 2s, by timeout of the credential)"},
		"no kubeconfig": {func(t *testing.T, n tree, a *pullsecrettest.API) {
			os.Remove(filepath.Join(n.root, "etc/kubernetes/kubelet.conf"))
		}, stdin, "the node's kubeconfig is not at /etc/kubernetes/kubelet.conf, "},
		"a stranger's": {func(t *testing.T, n tree, a *pullsecrettest.API) {
			os.Chown(filepath.Join(n.root, "etc/kubernetes/kubelet.conf"), 1234, 0)
		}, stdin, "belongs to user 1234, and is not used; run: chown root"},
		"no token":        {nil, request(mcrImage), "but the request has none; give the pod a service account"},
		"another's token": {nil, ofPod(mcrImage, ""), "is not a JSON web token"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a stranger's" && os.Getuid() != 0 {
				t.Skip("needs root")
			}
			t.Parallel()
			cloud, _ := startCloud(t)
			n, api := tenantNode(t, tenants)
			if test.set != nil {
				test.set(t, n, api)
			}
			started := time.Now()
			got := run(t, cloud, names[0], test.stdin, fromRoute, "--root="+n.root, asTenants, "--audience=mirrorcred")
			if got.code != 1 || !strings.Contains(got.stderr, test.want) {
				t.Errorf("it exits %d with %s%s; want %s", got.code, got.stdout, got.stderr, test.want)
			}
			if took := time.Since(started); took > 15*time.Second {
				t.Errorf("that took %s", took)
			}
			checkTenants(t, n, api, got)
		})
	}
}

// TestTenantsUnasked checks that an image which names the target itself gets nothing from
// the plugin, and asks the API server nothing: the kubelet has the pod's secrets for it.
func TestTenantsUnasked(t *testing.T) {
	cloud, _ := startCloud(t)
	n, api := tenantNode(t, tenants)
	got := run(t, cloud, names[0], tenantRequest("harbor.corp:8443/hub/x", "a", "web", tenantUID+"a"), fromRoute, "--root="+n.root, asTenants, "--audience=mirrorcred")
	if got.answer() != noAnswer {
		t.Errorf("it exits %d with %s%s; want %s", got.code, got.answer(), got.stderr, noAnswer)
	}
	if requests := api.Requests(); len(requests) > 0 {
		t.Errorf("the API server was asked for %q", requests)
	}
	checkTenants(t, n, api, got)
}
