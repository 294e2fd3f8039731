package check

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const secretHosts = "[host.\"https://harbor.corp\"]\nheader = { \"Authorization\" = [\"Basic CANARY\"] }\n"

func changed(old, next string, mode fs.FileMode) plan.Change {
	return plan.Change{Path: tree + "quay.io/hosts.toml", Old: []byte(old), New: []byte(next), Mode: mode}
}

// planned are plans of nodes on which programs run, and what is found in them.
var planned = []struct {
	plan plan.Plan
	err  error
	want []string
}{
	{plan.Plan{Pending: []plan.Pending{plan.NewPending("quay.io", fault.Fault{What: "the kubelet (process 7) started before the source was added to its configuration", Fix: "restart it: systemctl restart kubelet"})}}, nil, []string{"error config-not-loaded"}},
	{plan.Plan{Pending: []plan.Pending{plan.NewPending("quay.io", fault.Fault{Name: doctor.FlagsMissing, What: "the kubelet (process 7) runs without --image-credential-provider-config=/a", Fix: "start it with that flag"})}}, nil, []string{"error flags-missing"}},
	{plan.Plan{Pending: []plan.Pending{plan.NewPending("quay.io", fault.Fault{Name: doctor.NotDelivered, What: "waits for mirrorcred-deliver to get the credential of \"harbor.corp\": it answered 401", Fix: "see why with: journalctl -u mirrorcred-deliver"})}}, nil, []string{"error credential-not-delivered"}},
	{plan.Plan{Pending: []plan.Pending{plan.NewPending("quay.io", fault.Fault{Name: doctor.NotDelivered, What: "waits for mirrorcred-deliver to get the credential of \"harbor.corp\": it wants a token for the credential, which containerd 1.7.35 does not get", Fix: "update containerd to 2.1 or later, or leave deliver out there"})}}, nil, []string{"error token-realm-too-early"}},
	{plan.Plan{Pending: []plan.Pending{plan.NewPending("quay.io", fault.Fault{Name: doctor.CredentialLeftToNode, What: "the credential of \"harbor.corp\" belongs in hosts.toml, but no live credential goes into an image", Fix: "the node's first run writes it"})}}, nil, []string{"note credential-left-to-node"}},
	{plan.Plan{Changes: []plan.Change{changed(secretHosts, secretHosts, 0o600)}}, nil, []string{}}, // world-readable-secret
	{plan.Plan{Changes: []plan.Change{changed(secretHosts, secretHosts+"\n", 0o600)}}, nil, []string{"error not-applied"}},
	{plan.Plan{Changes: []plan.Change{changed(secretHosts, secretHosts, 0o644)}}, nil, []string{"error not-applied"}},
	{plan.Plan{Changes: []plan.Change{changed("[host]\n", "[host]\n", 0o600)}}, nil, []string{"error not-applied"}},
	{plan.Plan{Faults: []plan.Pending{plan.NewPending("quay.io", fault.Fault{Name: doctor.CredentialExpired, What: "the credential of \"harbor.corp\" expired at 2026-01-02 12:00:00 and was not renewed, so pulls through it fail until it is renewed", Fix: "see why"})}}, nil, []string{"error credential-expired"}},
	{plan.Plan{Warnings: []doctor.Finding{{Name: doctor.CredentialNotRenewed, Where: "/m:7", Text: "t", Repair: "r"}}}, nil, []string{"warning credential-not-renewed"}},
	{plan.Plan{Warnings: []doctor.Finding{{Name: doctor.RealmUnasked, Where: "quay.io", Text: "t", Repair: "r"}}}, nil, []string{"warning realm-not-asked"}},
	{plan.Plan{Draining: []plan.Pending{plan.NewPending("quay.io", fault.Fault{What: "its last pulls may still come", Fix: "wait"})}}, nil, []string{"note source-draining"}},
	{plan.Plan{LossWhy: fault.Fault{Where: "/etc/containerd/config.toml", Found: "no config_path", Fix: "write it"}}, nil, []string{"warning next-start-differs"}},
	{plan.Plan{Warnings: []doctor.Finding{{Name: doctor.ClockUnknown, Where: "process 7", Text: "t", Repair: "r"}}}, nil, []string{"warning clock-unknown"}},
	{plan.Plan{}, &node.NotArmedError{Reason: &fault.Fault{Name: doctor.RestartPending, Found: "it has another", Fix: "run: systemctl restart containerd"}}, []string{"error restart-pending"}},
	{plan.Plan{}, &node.NotArmedError{Reason: errors.New("no answer; see the journal")}, []string{"error containerd-unknown"}},
	{plan.Plan{}, &fs.PathError{Op: "open", Path: "/etc/mirrorcred/mirrors.toml", Err: fs.ErrPermission}, []string{"warning not-looked-at"}},
}

// TestPlanned holds the names of what a plan reports for programs that run.
func TestPlanned(t *testing.T) {
	for _, test := range planned {
		v := newVisit(Options{})
		v.plan(test.plan, test.err)
		got := (&host{T: t}).names(v.sorted())
		if !slices.Equal(got, test.want) {
			t.Errorf("of %+v, %v is found %q; want %q", test.plan, test.err, got, test.want)
		}
	}
}

// TestEveryNameHasACase holds the table of broken nodes against the names that the
// code has.
func TestEveryNameHasACase(t *testing.T) {
	cases := map[string]bool{}
	for _, test := range planned {
		for _, one := range test.want {
			cases[one] = true
		}
	}
	for _, test := range slices.Concat(brokenMaps, brokenContainerds, brokenTrees, brokenKubelets, brokenCredentials, brokenMachines, brokenDelivered) {
		for _, one := range test.want {
			cases[one] = true
		}
	}
	name := regexp.MustCompile(`(?m)^\t?(?:const )?[A-Z]\w+ += "([a-z0-9-]+)"$`)
	count := 0
	for _, file := range []string{"../doctor/names.go", "../../../hosts/remarks.go", "../../../hosts/containerdconfig/reason.go", "../../../mirror/fault.go", "../../../credential/kubeletconfig/decode.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range name.FindAllStringSubmatch(string(source), -1) {
			count++
			if one := string(doctor.SeverityOf(found[1])) + " " + found[1]; !cases[one] {
				t.Errorf("no broken node is found by %q", one)
			}
		}
	}
	if count < 110 {
		t.Errorf("%d names: does the test recognise them?", count)
	}
}

// TestSeverities checks that every severity is of a finding that exists.
func TestSeverities(t *testing.T) {
	for name, want := range map[string]doctor.Severity{
		doctor.AzureJSONMissing: doctor.Error, doctor.DuplicateAnswer: doctor.Warning, doctor.SourceDraining: doctor.Note, "new": doctor.Error,
	} {
		if got := doctor.SeverityOf(name); got != want {
			t.Errorf("SeverityOf(%q) = %s; want %s", name, got, want)
		}
	}
}

// TestPaths holds that a finding is where an operator of this machine finds it.
func TestPaths(t *testing.T) {
	h := newHost(t)
	h.append(tree+"quay.io/hosts.toml", "# mine\n")
	for _, f := range h.observe() {
		if !strings.HasPrefix(f.Where, h.root+"/") {
			t.Errorf("%s is at %q, which is not below %s", f.Name, f.Where, h.root)
		}
	}
}
