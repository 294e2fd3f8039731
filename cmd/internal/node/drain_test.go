package node

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const harborMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443"]
[registry."harbor.corp:8443"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

// removing returns a node on which a kubelet runs and whose mirror was just
// taken out of the map.
func removing(t *testing.T, text string) (*Node, *fake) {
	t.Helper()
	n, host := newNode(t, text)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	todo := applyMap(t, n, emptyMap)
	if got := summary(todo); !strings.Contains(got, "draining mcr.microsoft.com: pulls may still use its credential\n") {
		t.Errorf("the plan leaves:\n%s", got)
	}
	wantDraining(t, n)
	return n, host
}

// wantDraining fails unless the mirror stands and nothing is answered for it.
func wantDraining(t *testing.T, n *Node) {
	t.Helper()
	if hostsOf(t, n, "mcr.microsoft.com") == "" {
		t.Error("hosts.toml is gone; want it to stay while its mirror drains")
	}
	if offers, err := decided(t, n, "mcr.microsoft.com"); err == nil || !strings.Contains(err.Error(), "taken out of the mirror map") {
		t.Errorf("the answer is %v, %v; want an error that says that it drains", offers, err)
	}
}

// wantGone fails unless nothing is left of the mirror.
func wantGone(t *testing.T, n *Node, todo plan.Plan) {
	t.Helper()
	wantLeft(t, todo, "")
	wantRouted(t, n, "mcr.microsoft.com", "")
	for path := range tree(t, n.path("/etc/containerd/certs.d"), true) {
		if path != "" {
			t.Errorf("%s is left of the tree", path)
		}
	}
	offers, err := decided(t, n, "mcr.microsoft.com")
	if _, none := os.Stat(n.path(plan.RoutesDir)); none != nil {
		err = nil // it is not mirrorcred's plugin that is run
	}
	if err != nil || len(offers) > 0 {
		t.Errorf("the answer is %v, %v; want nothing", offers, err)
	}
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %d files", len(todo.Changes))
	}
}

func pullIntent(t *testing.T, n *Node, image string) {
	t.Helper()
	write(t, n.path("/var/lib/kubelet/image_manager/pulling/one"), `{"kind":"ImagePullIntent","apiVersion":"kubelet.config.k8s.io/v1alpha1","image":"`+image+`"}`)
}

func TestDrainEndsWithTheKubelet(t *testing.T) {
	n, host := removing(t, oneMap)
	host.after(time.Hour)
	// Without records of its pulls the kubelet may have one in its queue.
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 100) may not keep records of its pulls (")
	wantDraining(t, n)
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

func TestDrainEndsWithTheBoot(t *testing.T) {
	n, host := removing(t, oneMap)
	host.reboot()
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

func TestDrainEndsWithoutPulls(t *testing.T) {
	n, host := removing(t, oneMap)
	pullIntent(t, n, "mcr.microsoft.com/app:1")
	host.after(30 * time.Second)
	host.clock = func() time.Time { return time.Date(2030, 1, 2, 16, 48, 23, 0, time.Local) }
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: pulls may still use its credential until 16:48:53\n")
	host.clock = nil
	host.after(time.Minute)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 100) has 1 pull in progress that may use its credential")
	pullIntent(t, n, "quay.io/app:1")
	wantGone(t, n, apply(t, n))
}

func TestDrainOfACredentialThatExpires(t *testing.T) {
	n, host := removing(t, oneMap)
	host.after(3*time.Hour + 11*time.Minute)
	wantGone(t, n, apply(t, n))
}

func TestDrainOfACredentialThatDoesNotExpire(t *testing.T) {
	n, host := removing(t, harborMap)
	host.after(100 * time.Hour)
	wantLeft(t, apply(t, n), "draining harbor.corp:8443: the kubelet (process 100) may not keep records")
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

// TestDrainWithLostRoutes checks that what is not known of a mirror makes its
// drain no shorter.
func TestDrainWithLostRoutes(t *testing.T) {
	source := strings.ReplaceAll(oneMap, "mcr.microsoft.com", "mcr.microsoft.com:444")
	n, host := newNode(t, source)
	apply(t, n)
	host.startKubelet(theFlags...)
	if err := os.RemoveAll(n.path(plan.RoutesDir)); err != nil {
		t.Fatal(err)
	}
	write(t, n.path("/var/lib/kubelet/image_manager/pulling/one"), `{"image":"mcr.microsoft.com:444/app"}`)
	wantLeft(t, applyMap(t, n, emptyMap), "draining mcr.microsoft.com:444: ")
	host.after(4 * time.Hour)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com:444: the kubelet (process 100) has 1 pull in progress")
}

func TestDrainWithLostState(t *testing.T) {
	n, host := removing(t, oneMap)
	host.after(2 * time.Minute)
	pullIntent(t, n, "quay.io/app:1")
	if err := os.Remove(n.path(stateFile)); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: pulls may still use its credential") // once more
	host.after(2 * time.Minute)
	wantGone(t, n, apply(t, n))
}

func TestBackInTheMapWhileDraining(t *testing.T) {
	n, _ := removing(t, oneMap)
	wantLeft(t, applyMap(t, n, oneMap), "")
	if offers, err := decided(t, n, "mcr.microsoft.com"); err != nil || len(offers) != 1 {
		t.Errorf("the answer is %v, %v; want one credential", offers, err)
	}
	wantLeft(t, applyMap(t, n, emptyMap), "draining mcr.microsoft.com: pulls may still use its credential\n")
	wantLeft(t, applyMap(t, n, otherMap), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
}

func TestAnonymousMirrorGoesAtOnce(t *testing.T) {
	n, host := newNode(t, anonymousMap)
	host.startKubelet(theFlags...)
	apply(t, n)
	wantGone(t, n, applyMap(t, n, emptyMap))
}

// TestOnceWithACredential checks that a mirror which had a credential and has
// none now drains anyway: a pull in the queue may still have it.
func TestOnceWithACredential(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, anonymousMap+"share_credential = true\n"), "")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %d files", len(todo.Changes))
	}
	wantLeft(t, applyMap(t, n, emptyMap), "draining mcr.microsoft.com: ")
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

// TestServedByItselfAgain checks that the source is not dialled while a pull may
// have the mirror's credential, be it the mirror of the source or that of "*".
func TestServedByItselfAgain(t *testing.T) {
	const itself = "[registry.\"mcr.microsoft.com\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	for name, before := range map[string]string{"its own mirror": oneMap, "any mirror": strings.Replace(oneMap, "mcr.microsoft.com", "*", 1)} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, before)
			apply(t, n)
			host.startKubelet(theFlags...)
			after := emptyMap + itself
			if name == "any mirror" {
				after = before + itself
			}
			wantLeft(t, applyMap(t, n, after), "draining mcr.microsoft.com: ")
			if offers, err := decided(t, n, "mcr.microsoft.com"); err == nil {
				t.Errorf("the answer is %v; want an error", offers)
			}
			wantLeft(t, apply(t, n), "draining mcr.microsoft.com: ")
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			if got := hostsOf(t, n, "mcr.microsoft.com"); got == "" || strings.Contains(got, "azurecr") {
				t.Errorf("hosts.toml is %q; want the source itself", got)
			}
		})
	}
}

func TestDefaultMirrorDrains(t *testing.T) {
	n, host := newNode(t, strings.Replace(oneMap, "mcr.microsoft.com", "*", 1))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, emptyMap), "draining *: ")
	if _, err := decided(t, n, "quay.io"); err == nil {
		t.Error("there is an answer while the mirror of \"*\" drains; want none")
	}
	host.after(2 * time.Minute)
	pullIntent(t, n, "quay.io/any")
	wantLeft(t, apply(t, n), "draining *: the kubelet (process 100) has 1 pull in progress")
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}
