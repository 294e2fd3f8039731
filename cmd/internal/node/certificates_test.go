package node

import (
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
)

// wantFaults fails unless a plan has exactly the faults whose sources and texts
// are given, in turns.
func wantFaults(t *testing.T, p plan.Plan, want ...string) {
	t.Helper()
	if len(p.Faults) != len(want)/2 {
		t.Fatalf("the faults are %v; want those of %q", p.Faults, want)
	}
	for i, f := range p.Faults {
		if f.Source != want[2*i] || !strings.Contains(f.Reason, want[2*i+1]) {
			t.Errorf("fault %d is %v; want %q", i, f, want[2*i:2*i+2])
		}
	}
}

// withCA returns a map in which a registry has a CA file.
func withCA(text, registry string) string {
	return text + "[registry.\"" + registry + "\"]\nca = \"/etc/ca.pem\"\n"
}

// TestBadCertificate has a source whose mirror needs a file that containerd
// refuses: what was in force for it stays, with its credential, until the file is
// good, and the rest of the map is applied. On the machine itself a missing file
// is a fault too.
func TestBadCertificate(t *testing.T) {
	files := tlstest.Files(time.Now())
	n, host := newNode(t, oneMap)
	host.startKubelet(theFlags...)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")

	next := withCA(otherMap, "fabrikam.azurecr.io") + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"mirror.example\"]\n"
	todo := applyMap(t, n, next)
	wantFaults(t, todo,
		"mcr.microsoft.com", n.Map+`:6: ca "`+n.path("/etc/ca.pem")+`" of "fabrikam.azurecr.io" does not exist; `,
		"fabrikam.azurecr.io", n.Map+":6: ca ")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	wantRouted(t, n, "fabrikam.azurecr.io", "")
	wantRouted(t, n, "quay.io", "mirror.example")
	if got := string(tree(t, n.path(plan.RoutesDir), false)["/mcr.microsoft.com.json"]); !strings.Contains(got, "contoso.azurecr.io") {
		t.Errorf("the route is %s; want the one of the mirror in force in it", got)
	}
	if todo := apply(t, n); len(todo.Changes) != 0 {
		t.Errorf("the second run changes %v", todo.Changes)
	}

	write(t, n.path("/etc/ca.pem"), string(files["good.key"]))
	wantFaults(t, apply(t, n), "mcr.microsoft.com", "holds a private key", "fabrikam.azurecr.io", "holds a private key")
	write(t, n.path("/etc/ca.pem"), string(files["good.crt"]))
	wantFaults(t, apply(t, n))
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
}

// TestBadCertificateGoes has such a source leave the map: it drains as any other.
func TestBadCertificateGoes(t *testing.T) {
	n, host := newNode(t, withCA(oneMap, "contoso.azurecr.io"))
	write(t, n.path("/etc/ca.pem"), string(tlstest.Files(time.Now())["good.crt"]))
	in(withCA(oneMap, "contoso.azurecr.io"))(t, n, host)
	write(t, n.path("/etc/ca.pem"), "")
	wantFaults(t, apply(t, n), "mcr.microsoft.com", "is empty", "contoso.azurecr.io", "is empty")
	wantRouted(t, n, "mcr.microsoft.com", "/etc/ca.pem")
	todo := applyMap(t, n, emptyMap)
	wantFaults(t, todo)
	wantLeft(t, todo, "draining contoso.azurecr.io: ")
	host.startKubelet(theFlags...)
	apply(t, n)
	wantRouted(t, n, "mcr.microsoft.com", "")
}

// TestStockBadCertificate checks that acr-credential-provider is not told a new
// mirror while hosts.toml still names the old one: its credential would go there.
func TestStockBadCertificate(t *testing.T) {
	n, host := newNode(t, stockMap)
	in(stockMap)(t, n, host)
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	host.run = nil
	bad := withCA(stockOtherMap, "fabrikam.azurecr.io")
	wantFaults(t, applyMap(t, n, bad), "mcr.microsoft.com", "does not exist", "fabrikam.azurecr.io", "does not exist")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	write(t, n.path("/etc/ca.pem"), string(tlstest.Files(time.Now())["good.crt"]))
	wantFaults(t, apply(t, n))
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
	wantMirrors(t, n, "mcr.microsoft.com:fabrikam.azurecr.io")
}
