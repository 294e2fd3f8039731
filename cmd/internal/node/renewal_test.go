package node

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A renewing is a node with a credential in hosts.toml, whose time a test sets.
type renewing struct {
	*testing.T
	*Node
	store handover.Store
	key   string
	now   time.Time
}

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	n, host := newNode(t, deliverMap)
	r := &renewing{T: t, Node: n, store: handover.New(n.path(handover.Dir)), now: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)}
	host.clock = func() time.Time { return r.now }
	m, err := n.ReadMap()
	r.must(err)
	r.key, _ = m.Mirrors[0].Targets[0].Delivery()
	return r
}

func (r *renewing) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// hand hands a credential over that was fetched some time ago.
func (r *renewing) hand(ago time.Duration, change func(*handover.Value)) {
	r.Helper()
	v := handover.Value{Registry: "harbor.corp", Authorization: "Basic c4n4ry", Credential: "harbor", From: r.now.Add(-ago)}
	change(&v)
	r.must(r.store.SetValue(r.key, v))
	_, err := r.Apply(r.Context())
	r.must(err)
}

// found returns the warnings, and the faults after them, without a part of the secret.
func (r *renewing) found() (list []doctor.Finding, faults []plan.Pending) {
	r.Helper()
	p, err := r.Plan(r.Context())
	r.must(err)
	for _, w := range p.Warnings {
		if w.Name == doctor.CredentialNotRenewed || w.Name == doctor.TokenRealmEarly {
			list = append(list, w)
		}
	}
	if text := fmt.Sprint(p.Warnings, p.Faults, p.Pending, p.Conflicts); strings.Contains(text, "c4n4ry") {
		r.Errorf("the secret is in %s", text)
	}
	return list, p.Faults
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// local returns a text with its times in the time zone of this machine.
func local(text string) string {
	return moment.ReplaceAllStringFunc(text, func(s string) string {
		t, err := time.Parse(time.DateTime, s)
		if err != nil {
			panic(err)
		}
		return t.Local().Format(time.DateTime)
	})
}

// TestRenewals checks when a credential in hosts.toml is reported as not renewed, and
// that nothing is reported once it is.
func TestRenewals(t *testing.T) {
	until := func(d time.Duration) func(*handover.Value) {
		return func(v *handover.Value) { v.Until = v.From.Add(d) }
	}
	renew := func(d time.Duration) func(*handover.Value) {
		return func(v *handover.Value) { v.Renew = v.From.Add(d) }
	}
	issued := func(before, end time.Duration) func(*handover.Value) {
		return func(v *handover.Value) { v.Issued, v.Until = v.From.Add(-before), v.From.Add(end) }
	}
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		ago    time.Duration
		change func(*handover.Value)
		fault  string
		want   string // in the text and the repair; "" for no finding
	}{
		"new":                               {0, until(time.Hour), "", ""},
		"at the latest moment":              {30 * time.Minute, until(time.Hour), "", ""},
		"a little later":                    {36 * time.Minute, until(time.Hour), "", ""},
		"late":                              {37 * time.Minute, until(time.Hour), "", "expires at 2026-01-02 12:23:00 and was not renewed in the middle of its life|journalctl -u mirrorcred-deliver"},
		"about to end":                      {time.Hour - time.Second, until(time.Hour), "", "expires at 2026-01-02 12:00:01"},
		"a long one, late":                  {8 * time.Hour, until(12 * time.Hour), "", "expires at 2026-01-02 16:00:00"},
		"a failed try":                      {30 * time.Minute, until(time.Hour), "it answers 401; correct the credential", "it answers 401|correct the credential"},
		"a failed try without a remedy":     {30 * time.Minute, until(time.Hour), "it answers 401", "it answers 401|journalctl"},
		"without an end":                    {time.Hour, func(*handover.Value) {}, "", ""},
		"without an end, retried":           {72 * time.Minute, func(*handover.Value) {}, "", ""},
		"without an end, late":              {73 * time.Minute, func(*handover.Value) {}, "", "was fetched at 2026-01-02 10:47:00 and not renewed since|journalctl"},
		"half of a provider's time":         {6 * time.Hour, renew(6 * time.Hour), "", ""},
		"after a provider's time":           {8 * time.Hour, renew(6 * time.Hour), "", "was fetched at 2026-01-02 04:00:00"},
		"a provider's few minutes":          {7 * time.Minute, renew(time.Minute), "", ""},
		"a provider's few minutes, late":    {12 * time.Minute, renew(time.Minute), "", "was fetched at"},
		"fetched again, the same":           {time.Minute, issued(10*time.Hour, time.Hour), "", `expires at 2026-01-02 12:59:00 and was not renewed in the middle of its life: credential "harbor" has no newer one|log in again`},
		"fetched again, the same, in time":  {time.Minute, issued(time.Hour, time.Hour), "", ""},
		"fetched again, for a year":         {time.Minute, issued(300*day, 65*day), "", ""},
		"fetched again, the last two weeks": {time.Minute, issued(355*day, 10*day), "", "has no newer one"},
		"of another clock":                  {-time.Hour, until(time.Hour), "", ""},
		"of an earlier version":             {0, func(v *handover.Value) { v.From = time.Time{} }, "", ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := newRenewing(t)
			r.hand(test.ago, test.change)
			if test.fault != "" {
				r.must(r.store.SetFault(r.key, handover.Fault{Registry: "harbor.corp", Reason: test.fault, At: r.now}))
			}
			list, faults := r.found()
			if len(faults) > 0 {
				t.Errorf("it has expired: %v", faults)
			}
			text, repair, _ := strings.Cut(local(test.want), "|")
			switch {
			case test.want == "" && len(list) > 0, test.want != "" && len(list) != 1:
				t.Errorf("found %v; want %q", list, test.want)
			case test.want != "" && (!strings.Contains(list[0].Text, text) || !strings.Contains(list[0].Repair, repair)):
				t.Errorf("found %v; want %q", list, test.want)
			case test.want != "" && (list[0].Name != doctor.CredentialNotRenewed || list[0].Where != r.Map+":7"):
				t.Errorf("found %s at %s; want it at the line of deliver", list[0].Name, list[0].Where)
			}
			r.hand(0, until(time.Hour)) // it is renewed
			if list, _ := r.found(); len(list) > 0 {
				t.Errorf("once it is renewed there is %v", list)
			}
		})
	}
}

// TestEnded checks that an expired credential is reported as expired, and not as one that will.
func TestEnded(t *testing.T) {
	for fault, want := range map[string]string{"": "; " + plan.SeeDeliverLog, "it answers 401; log in": ": it answers 401; log in"} {
		r := newRenewing(t)
		r.hand(time.Hour, func(v *handover.Value) { v.Until = r.now })
		if fault != "" {
			r.must(r.store.SetFault(r.key, handover.Fault{Registry: "harbor.corp", Reason: fault, At: r.now}))
		}
		list, faults := r.found()
		if len(list) > 0 || len(faults) != 2 { // its source, and the registry itself
			t.Fatalf("found %v, %v", list, faults)
		}
		for _, f := range faults {
			if !strings.Contains(f.Reason, "and was not renewed, so ") || !strings.HasSuffix(f.Reason, want) || strings.Count(f.Reason, "; ") != 1 {
				t.Errorf("the fault is %q", f.Reason)
			}
		}
		r.hand(0, func(v *handover.Value) { v.Until = r.now.Add(time.Hour) })
		if list, faults = r.found(); len(list)+len(faults) > 0 {
			t.Errorf("once it is renewed there is %v, %v", list, faults)
		}
	}
}

// TestTokenRealmEarly checks that a credential for a token service is reported on a node
// whose containerd does not send it there, until containerd is updated.
func TestTokenRealmEarly(t *testing.T) {
	for version, early := range map[string]bool{"": false, "1.7": true, "1.7.35": true, "2.0": true, "2.1": false, "2.4": false} {
		for _, realm := range []bool{true, false} {
			r := newRenewing(t)
			set := func(version string) {
				text := deliverMap
				if version != "" {
					text += "[containerd]\nversion = \"" + version + "\"\n"
				}
				config := "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n"
				if strings.HasPrefix(version, "1") {
					config = "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\n"
				}
				write(t, r.path("/etc/containerd/config.toml"), config+"config_path = '/etc/containerd/certs.d'\n")
				write(t, r.Map, text)
			}
			set(version)
			r.hand(0, func(v *handover.Value) { v.Realm = realm })
			// The next try is refused because of it, which is not a second finding.
			r.must(r.store.SetFault(r.key, handover.Fault{Registry: "harbor.corp", Reason: "it wants a token; update", At: r.now}))
			want := doctor.CredentialNotRenewed
			if early && realm {
				want = doctor.TokenRealmEarly
			}
			if list, _ := r.found(); len(list) != 1 || list[0].Name != want || list[0].Repair == "" {
				t.Errorf("containerd %q, realm %t: found %v; want %s", version, realm, list, want)
			}
			set("2.1")
			r.hand(0, func(v *handover.Value) { v.Realm = realm })
			if list, _ := r.found(); len(list) > 0 {
				t.Errorf("after the update there is %v", list)
			}
		}
	}
}

// TestDeliveredModes checks that a value that others can read is not used, and is said to
// be why.
func TestDeliveredModes(t *testing.T) {
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o666} {
		r := newRenewing(t)
		r.hand(0, func(*handover.Value) {})
		file := filepath.Join(r.path(handover.Dir), r.key+".json")
		r.must(os.Chmod(file, mode))
		p, err := r.Plan(t.Context())
		r.must(err)
		if len(p.Pending) != 2 || p.Pending[0].Why.Name != doctor.NotDelivered || !strings.Contains(p.Pending[0].Reason, fmt.Sprintf("its mode is %04o", mode)) {
			t.Errorf("%v: pending %v", mode, p.Pending)
		}
		r.must(os.Remove(file)) // what it says
		r.hand(0, func(*handover.Value) {})
		if p, err = r.Plan(t.Context()); err != nil || len(p.Pending) > 0 {
			t.Errorf("%v: once it is written anew, pending is %v, %v", mode, p.Pending, err)
		}
	}
}
