package node

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
)

const deliverMap = `version = 1
[[mirror]]
source = "quay.io"
targets = ["harbor.corp", "quay.io"]
[registry."harbor.corp"]
credential = "harbor"
deliver = "hosts"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

// deliveryKey returns the key of the credential that the node's map has delivered.
func deliveryKey(t testing.TB, n *Node) string {
	t.Helper()
	m, err := n.ReadMap()
	if err != nil {
		t.Fatal(err)
	}
	key, _ := m.Mirrors[0].Targets[0].Delivery()
	return key
}

// handOver hands a value over for harbor.corp.
func handOver(t testing.TB, n *Node, key string, v handover.Value) {
	t.Helper()
	v.Registry, v.Credential = "harbor.corp", "harbor"
	if err := handover.New(n.path(handover.Dir)).SetValue(key, v); err != nil {
		t.Fatal(err)
	}
}

// TestDelivered follows a credential in hosts.toml on a disk: pending until it is handed
// over, written closed to others and for its host alone, left out when it has expired, and
// written anew when it is renewed. The plugin returns nothing at any time.
func TestDelivered(t *testing.T) {
	n, host := newNode(t, deliverMap)
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	host.clock = func() time.Time { return now }
	host.startKubelet(theFlags...)
	key := deliveryKey(t, n)
	store := handover.New(n.path(handover.Dir))
	if err := store.SetFault(key, handover.Fault{Registry: "harbor.corp", Reason: "it answered 401", At: now}); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), `pending quay.io: waits for mirrorcred-deliver to get the credential of "harbor.corp": it answered 401`)
	wantRouted(t, n, "quay.io", "")

	hand := func(secret string) {
		t.Helper()
		v := handover.Value{Authorization: "Basic c4n4ry", Until: now.Add(time.Hour), From: now}
		if v.Authorization += "1"; secret == "renewed" {
			v.Authorization = "Basic renewed"
		}
		handOver(t, n, key, v)
	}
	hand("first")
	wantLeft(t, apply(t, n), "")
	if got := hostsOf(t, n, "quay.io"); !strings.Contains(got, "[host.\"https://harbor.corp\"]\n") || !strings.Contains(got, "header = { \"Authorization\" = [\"Basic c4n4ry1\"] }") || strings.Contains(got, "server") {
		t.Errorf("hosts.toml is\n%s", got)
	}
	info, err := os.Stat(n.path(certsDir, "quay.io/hosts.toml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("hosts.toml: %v, %v", info.Mode(), err)
	}
	if info, err = os.Stat(n.path(certsDir, "quay.io")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory: %v, %v", info.Mode(), err)
	}
	none := func() {
		t.Helper()
		if offers, err := decided(t, n, "quay.io"); err != nil || len(offers) > 0 {
			t.Errorf("the plugin answers %v, %v; want nothing", offers, err)
		}
	}
	none()

	// harbor.corp, which serves itself, has expired too, and has no source to fall back to.
	now = now.Add(2 * time.Hour)
	p := apply(t, n)
	if len(p.Faults) != 2 || !strings.Contains(p.Faults[0].Reason, "left out until it is renewed") || strings.Contains(hostsOf(t, n, "quay.io"), "harbor.corp") {
		t.Errorf("ended: %v\n%s", p.Faults, hostsOf(t, n, "quay.io"))
	}
	none()
	hand("renewed")
	if p = apply(t, n); len(p.Faults) > 0 || !strings.Contains(hostsOf(t, n, "quay.io"), "Basic renewed") {
		t.Errorf("renewed: %v\n%s", p.Faults, hostsOf(t, n, "quay.io"))
	}
	none()
}

// TestDeliveredMoves checks that the kubelet's credential is drained before the same one
// is written into hosts.toml.
func TestDeliveredMoves(t *testing.T) {
	byKubelet := strings.NewReplacer("deliver = \"hosts\"\n", "", ", \"quay.io\"]", "]").Replace(deliverMap)
	n, host := newNode(t, byKubelet)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	write(t, n.Map, deliverMap)
	handOver(t, n, deliveryKey(t, n), handover.Value{Authorization: "Basic c4n4ry"})
	wantLeft(t, apply(t, n), "draining quay.io: ")
	if got := hostsOf(t, n, "quay.io"); strings.Contains(got, "Authorization") || !strings.Contains(got, "server = \"https://harbor.corp\"") {
		t.Errorf("while the kubelet's credential drains, hosts.toml is\n%s", got)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	if got := hostsOf(t, n, "quay.io"); !strings.Contains(got, "Basic c4n4ry") {
		t.Errorf("after the drain, hosts.toml is\n%s", got)
	}
}

// TestDeliveredElsewhere checks that no live credential goes into an image.
func TestDeliveredElsewhere(t *testing.T) {
	for name, set := range map[string]func(*Node){"below a root": func(n *Node) { n.elsewhere = true }, "baked": func(n *Node) { n.NoDelivery = true }} {
		n, _ := newNode(t, deliverMap)
		handOver(t, n, deliveryKey(t, n), handover.Value{Authorization: "Basic c4n4ry"})
		set(n)
		p, err := n.Plan(t.Context())
		if err != nil || !strings.Contains(summary(p), "no live credential goes into an image") {
			t.Errorf("%s: %v, %s", name, err, summary(p))
		}
		for _, c := range p.Changes {
			if strings.Contains(string(c.New), "c4n4ry") {
				t.Errorf("%s: %s gets the credential", name, c.Path)
			}
		}
	}
}
