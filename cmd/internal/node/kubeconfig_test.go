package node

import (
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const tenantsMap = `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.corp"]
[registry."harbor.corp"]
credential = ["tenants", "named"]
[credential.tenants]
kind = "pull-secret"
[credential.named]
kind = "pull-secret"
kubeconfig = "/own/kubelet.conf"
`

// TestUseKubeconfig checks that a credential which names no kubeconfig takes that of the
// running kubelet, and else that of the kubelet's unit; and that one which names another
// keeps it.
func TestUseKubeconfig(t *testing.T) {
	for layout, unit := range map[string]string{
		"kubeadm-deb": "/etc/kubernetes/kubelet.conf",
		"aks":         "/var/lib/kubelet/kubeconfig",
		"kubespray":   "/etc/kubernetes/kubelet.conf",
		"eks":         "",
		"k3s":         "",
		"none":        "",
	} {
		for _, test := range []struct {
			args []string
			want string
		}{
			{nil, unit},
			{[]string{"kubelet", "--v=2"}, unit},
			{[]string{"kubelet", "--kubeconfig=relative.conf"}, unit},
			{[]string{"kubelet", "--kubeconfig=/first.conf", "--kubeconfig", "/run/../run/kubelet.conf"}, "/run/kubelet.conf"},
		} {
			root := t.TempDir()
			if err := layouts.Write(root, layout); err != nil {
				t.Fatal(err)
			}
			m, err := mirror.Parse("map", []byte(tenantsMap))
			if err != nil {
				t.Fatal(err)
			}
			before := m.Credentials
			n, f := New(root, "", false), &fake{root: root}
			n.host, n.elsewhere = f, false
			if test.args != nil {
				f.startKubelet(test.args...)
			}
			n.useKubeconfig(m)
			tenants, _ := m.Credential("tenants")
			named, _ := m.Credential("named")
			if tenants.File != test.want || named.File != "/own/kubelet.conf" {
				t.Errorf("%s, with a kubelet %q: kubeconfigs %q and %q; want %q and its own", layout, test.args, tenants.File, named.File, test.want)
			}
			if before[0].File != "" {
				t.Error("the parsed map, which is kept, was changed")
			}
		}
	}
}
