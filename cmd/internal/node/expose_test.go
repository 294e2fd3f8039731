package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// retargetMap returns a map in which docker.io has targets, with harbor.corp's
// and quay.corp's credentials.
func retargetMap(more string, targets ...string) string {
	return "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"" + strings.Join(targets, "\", \"") + "\"]\n" + more + `
[registry."harbor.corp"]
credential = "harbor"
[registry."quay.corp"]
credential = "harbor"
[registry."below.corp/team"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`
}

// noTargets is retargetMap without a mirror of docker.io.
var noTargets = "version = 1\n" + strings.SplitN(retargetMap("", "x"), "\"x\"]\n", 2)[1]

const share = "share_credential = true\n"

// TestRetargetExposes checks which changes of a mirror's targets wait until no
// pull has the previous credential, and which are one rename.
func TestRetargetExposes(t *testing.T) {
	tests := map[string]struct {
		before, after string
		want          string // how the wait begins after the reason, "" if there is none
	}{
		"to a third party": {
			retargetMap("", "harbor.corp"), retargetMap("", "mirror.gcr.io"),
			`"mirror.gcr.io" is new to this mirror and gets no credential from the map, so it must not see that of "harbor.corp"; to switch at once, restart the kubelet, or write share_credential = true if it may`,
		},
		"to a third party from ACR":             {retargetMap("", "contoso.azurecr.io/hub"), retargetMap("", "mirror.gcr.io"), `"mirror.gcr.io" is new`},
		"to the source itself":                  {retargetMap("", "harbor.corp"), retargetMap("", "docker.io"), `"registry-1.docker.io" is new`},
		"to a third party that is shared with":  {retargetMap("", "harbor.corp"), retargetMap(share, "mirror.gcr.io"), ""},
		"with a third party behind, shared":     {retargetMap("", "harbor.corp"), retargetMap(share, "harbor.corp", "mirror.gcr.io"), ""},
		"to a registry with a credential":       {retargetMap("", "harbor.corp"), retargetMap("", "quay.corp"), ""},
		"to ACR":                                {retargetMap("", "harbor.corp"), retargetMap("", "contoso.azurecr.io/hub"), ""},
		"to a registry with one for some":       {retargetMap("", "harbor.corp"), retargetMap("", "below.corp"), ""},
		"to another repository of the registry": {retargetMap("", "harbor.corp"), retargetMap("", "harbor.corp/hub"), ""},
		"to what was in the list, shared":       {retargetMap(share, "harbor.corp", "mirror.gcr.io"), retargetMap("", "mirror.gcr.io"), ""},
		"to one that was not, of a shared list": {retargetMap(share, "harbor.corp", "mirror.gcr.io"), retargetMap("", "other.example"), `"other.example" is new`},
		"to a new one behind the previous one":  {retargetMap(share, "harbor.corp", "mirror.gcr.io"), retargetMap("", "mirror.gcr.io", "other.example"), `"other.example" is new`},
		"from one third party to another":       {retargetMap("", "mirror.gcr.io"), retargetMap("", "other.example"), ""},
		"another header for the third party":    {retargetMap("", "mirror.gcr.io"), retargetMap("header = { X-Meta-A = \"b\" }\n", "mirror.gcr.io"), ""},
		"from a third party to a credential":    {retargetMap("", "mirror.gcr.io"), retargetMap("", "harbor.corp"), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, test.before)
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			before := hostsOf(t, n, "docker.io")
			write(t, n.Map, test.after)
			dry, err := n.Plan(t.Context()) // it says so beforehand
			if err != nil {
				t.Fatal(err)
			}
			todo := apply(t, n)
			if summary(dry) != summary(todo) {
				t.Errorf("the dry run says:\n%sand the run:\n%s", summary(dry), summary(todo))
			}
			if test.want == "" {
				wantLeft(t, todo, "")
				if hostsOf(t, n, "docker.io") == before {
					t.Error("hosts.toml is as before; want it changed at once")
				}
				return
			}
			wantLeft(t, todo, "draining docker.io: pulls may still use its credential: "+test.want)
			wantWithdrawn(t, n, before)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			if hostsOf(t, n, "docker.io") == before {
				t.Error("hosts.toml is as before when the drain is over")
			}
			if offers, err := decided(t, n, "docker.io"); err != nil || len(offers) > 0 {
				t.Errorf("the answer is %v, %v; want nothing", offers, err)
			}
		})
	}
}

// wantWithdrawn fails unless docker.io is routed as it was and nothing is
// answered for it.
func wantWithdrawn(t *testing.T, n *Node, before string) {
	t.Helper()
	if got := hostsOf(t, n, "docker.io"); got != before {
		t.Errorf("hosts.toml is %q; want it to stay %q while it drains", got, before)
	}
	if offers, err := decided(t, n, "docker.io"); err == nil || !strings.Contains(err.Error(), "is being drained") {
		t.Errorf("the answer is %v, %v; want an error that says that it drains", offers, err)
	}
}

// TestRetargetAtOnce writes share_credential while a retarget drains.
func TestRetargetAtOnce(t *testing.T) {
	n, host := newNode(t, retargetMap("", "harbor.corp"))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, retargetMap("", "mirror.gcr.io")), "draining docker.io: ")
	wantLeft(t, applyMap(t, n, retargetMap(share, "mirror.gcr.io")), "")
	wantRouted(t, n, "docker.io", "mirror.gcr.io")
}

// TestRetargetOfAny checks that the mirror of "*" is retargeted by the same
// rules, for a pull of any source.
func TestRetargetOfAny(t *testing.T) {
	any := func(text string) string { return strings.Replace(text, "\"docker.io\"", "\"*\"", 1) }
	n, host := newNode(t, any(retargetMap("", "harbor.corp")))
	mkdir(t, n.path(records))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, any(retargetMap("", "mirror.gcr.io"))), "draining *: ")
	pullIntent(t, n, "quay.io/any:1")
	host.after(2 * time.Minute)
	wantLeft(t, apply(t, n), "draining *: the kubelet (process 100) has 1 pull in progress")
	if err := os.Remove(n.path(records, "one")); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "_default", "mirror.gcr.io")
}

// TestOwnMirrorUnderAny gives a source a mirror of its own that must not see the
// credential of the mirror of "*", which served it.
func TestOwnMirrorUnderAny(t *testing.T) {
	anyMap := strings.Replace(retargetMap("", "harbor.corp"), "\"docker.io\"", "\"*\"", 1)
	own := "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"mirror.gcr.io\"]\n"
	n, host := newNode(t, anyMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, anyMap+own), `draining docker.io: pulls may still use its credential: "mirror.gcr.io" is new to this mirror and gets no credential from the map, so it must not see that of "harbor.corp"`)
	wantRouted(t, n, "docker.io", "")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "docker.io", "mirror.gcr.io")
}

// TestChangesWhileDraining checks that another change of the source neither ends
// the drain of a retarget nor begins it anew.
func TestChangesWhileDraining(t *testing.T) {
	third, other := retargetMap("", "mirror.gcr.io"), retargetMap("", "other.example")
	for name, maps := range map[string][]string{
		"another third party": {other}, "removed": {noTargets}, "removed and back": {noTargets, third},
		"a header": {retargetMap("header = { X-Meta-A = \"b\" }\n", "mirror.gcr.io")}, "itself": {retargetMap("", "docker.io")},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, retargetMap("", "harbor.corp"))
			mkdir(t, n.path(records))
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			before := hostsOf(t, n, "docker.io")
			wantLeft(t, applyMap(t, n, third), "draining docker.io: ")
			for _, text := range maps {
				host.after(20 * time.Second)
				wantLeft(t, applyMap(t, n, text), "draining docker.io: pulls may still use its credential until ")
				wantWithdrawn(t, n, before)
			}
			pullIntent(t, n, "docker.io/library/nginx:1")
			host.after(time.Minute)
			wantLeft(t, apply(t, n), "draining docker.io: the kubelet (process 100) has 1 pull in progress")
			wantWithdrawn(t, n, before)
			pullIntent(t, n, "quay.io/a:1")
			wantLeft(t, apply(t, n), "") // a minute after it began, and not after the last change
			if hostsOf(t, n, "docker.io") == before {
				t.Error("the drain is over, and hosts.toml is as before")
			}
		})
	}
}

// TestDrainAnew takes a drain back, by which the credential is returned again:
// the next drain begins at its own beginning, whatever was killed between.
func TestDrainAnew(t *testing.T) {
	harbor, third := retargetMap("", "harbor.corp"), retargetMap("", "mirror.gcr.io")
	for k := range 12 {
		for l := range 12 {
			n, host := newNode(t, harbor)
			mkdir(t, n.path(records))
			apply(t, n)
			host.startKubelet(theFlags...)
			applyMap(t, n, third)
			host.after(2 * time.Minute) // the drain could end now
			write(t, n.Map, harbor)
			killAt(n, k)
			killed(t, n)
			host.after(time.Second)
			answered := false
			if offers, err := decided(t, n, "docker.io"); err == nil && len(offers) > 0 {
				answered = true
			}
			write(t, n.Map, third)
			killAt(n, l)
			killed(t, n)
			n.disk = disk{}
			todo := apply(t, n)
			if answered && !strings.Contains(summary(todo), "draining docker.io: ") {
				t.Errorf("killed at %d and %d: the plan leaves %q; want a drain that begins anew", k, l, summary(todo))
			}
			os.RemoveAll(n.Root)
		}
	}
}

// TestLasting changes a credential that does not expire for one that does: the
// drain that comes later does not end with the second.
func TestLasting(t *testing.T) {
	harbor, acr, third := retargetMap("", "harbor.corp"), retargetMap("", "contoso.azurecr.io/hub"), retargetMap("", "mirror.gcr.io")
	const long = 4 * time.Hour
	for name, restart := range map[string]bool{"the kubelet runs on": false, "the kubelet restarts": true} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, harbor)
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			applyMap(t, n, third) // which drains, and is taken back
			wantLeft(t, applyMap(t, n, acr), "")
			if restart {
				host.startKubelet(theFlags...)
			}
			wantLeft(t, apply(t, n), "")
			applyMap(t, n, third)
			host.after(long)
			want := ""
			if !restart {
				want = "draining docker.io: the kubelet (process 100) may not keep records"
			}
			wantLeft(t, apply(t, n), want)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			if state, err := n.readState(); err != nil || len(state.Lasting) > 0 || len(state.Drains) > 0 {
				t.Errorf("in the end the state is %+v, %v", state, err)
			}
		})
	}
}

// TestRetargetWithLostRoutes checks that what is not known of the hosts.toml in
// force makes no change quicker.
func TestRetargetWithLostRoutes(t *testing.T) {
	n, host := newNode(t, retargetMap("", "harbor.corp"))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	if err := os.RemoveAll(n.path(plan.RoutesDir)); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, applyMap(t, n, retargetMap("", "mirror.gcr.io")), "draining docker.io: ")
	host.after(4 * time.Hour)
	wantLeft(t, apply(t, n), "draining docker.io: the kubelet (process 100) may not keep records")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "docker.io", "mirror.gcr.io")
}

// moveTo has the map and containerd's configuration name another hosts_dir.
func moveTo(t testing.TB, n *Node, dir, text string) {
	t.Helper()
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+dir+"'\n")
	write(t, n.Map, strings.Replace(text, "version = 1\n", fmt.Sprintf("version = 1\n[containerd]\nhosts_dir = %q\n", dir), 1))
}

// TestMoved changes hosts_dir, and by the same edit removes a source, or sends
// it to a third party: both trees have it as it was until it has drained.
func TestMoved(t *testing.T) {
	const dir = "/srv/certs.d"
	quay := "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"harbor.corp/quay\"]\n"
	for name, test := range map[string]struct{ after, left, end string }{
		"removed":          {noTargets, "draining docker.io: pulls may still use its credential\ndraining quay.io: ", ""},
		"one removed":      {noTargets + quay, "draining docker.io: pulls may still use its credential\n", ""},
		"to a third party": {retargetMap("", "mirror.gcr.io") + quay, "draining docker.io: pulls may still use its credential: \"mirror.gcr.io\" is new", "mirror.gcr.io"},
		"to the same":      {retargetMap("", "harbor.corp") + quay, "", "harbor.corp"},
		"to ACR":           {retargetMap("", "contoso.azurecr.io/hub") + quay, "", "contoso.azurecr.io"},
	} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, routes lost %t", name, lost), func(t *testing.T) {
				before := retargetMap("", "harbor.corp") + quay
				n, host := newNode(t, before)
				apply(t, n)
				host.startKubelet(theFlags...)
				wantLeft(t, apply(t, n), "")
				file := hostsOf(t, n, "docker.io")
				if lost {
					if err := os.RemoveAll(n.path(plan.RoutesDir)); err != nil {
						t.Fatal(err)
					}
				}
				moveTo(t, n, dir, test.after)
				want := test.left
				wantLeft(t, apply(t, n), want)
				in := func(tree string) string {
					data, err := os.ReadFile(n.path(tree, "docker.io/hosts.toml"))
					if err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
					return string(data)
				}
				if test.left != "" && in(dir) != file {
					t.Errorf("in the new tree docker.io is %q; want it as it was while it drains", in(dir))
				}
				if in("/etc/containerd/certs.d") != file {
					t.Errorf("in the old tree docker.io is %q; want it as it was", in("/etc/containerd/certs.d"))
				}
				if want != "" {
					want = "draining docker.io: "
				}
				wantLeft(t, apply(t, n), want)
				host.startKubelet(theFlags...)
				wantLeft(t, apply(t, n), "")
				if got := in(dir); test.end == "" && got != "" || !strings.Contains(got, test.end) {
					t.Errorf("in the end docker.io is %q; want %q", got, test.end)
				}
				if todo := apply(t, n); len(todo.Changes) > 0 {
					t.Errorf("the next run changes %d files", len(todo.Changes))
				}
			})
		}
	}
}

// TestMovedWhileDraining changes hosts_dir during a drain, which goes on as it
// began.
func TestMovedWhileDraining(t *testing.T) {
	n, host := newNode(t, retargetMap("", "harbor.corp"))
	mkdir(t, n.path(records))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantLeft(t, applyMap(t, n, noTargets), "draining docker.io: ")
	host.after(40 * time.Second)
	moveTo(t, n, "/srv/certs.d", noTargets)
	wantLeft(t, apply(t, n), "draining docker.io: pulls may still use its credential until ")
	if _, err := os.Stat(n.path("/srv/certs.d/docker.io/hosts.toml")); err != nil {
		t.Error(err)
	}
	host.after(30 * time.Second)
	wantLeft(t, apply(t, n), "")
	if _, err := os.Stat(n.path("/srv/certs.d/docker.io")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("docker.io is still there: %v", err)
	}
}

// TestMovedKilled kills the change of hosts_dir at each step: where the routes
// name the new tree, it has all of the old one.
func TestMovedKilled(t *testing.T) {
	for k := 1; ; k++ {
		n, host := newNode(t, retargetMap("", "harbor.corp"))
		apply(t, n)
		host.startKubelet(theFlags...)
		apply(t, n)
		file := hostsOf(t, n, "docker.io")
		moveTo(t, n, "/srv/certs.d", noTargets)
		killAt(n, k)
		dead := killed(t, n)
		n.disk = disk{}
		route, err := routeAt(n, "docker.io")
		if err != nil {
			t.Fatal(err)
		}
		state, err := n.readState()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(n.path("/srv/certs.d/docker.io/hosts.toml"))
		if moved := route.HostsDir == "/srv/certs.d" || state.Containerd.HostsDir == "/srv/certs.d"; moved && string(data) != file {
			t.Errorf("killed at step %d: the route is of the new tree, in which docker.io is %q, %v", k, data, err)
		}
		wantLeft(t, apply(t, n), "draining docker.io: ")
		if data, err := os.ReadFile(n.path("/srv/certs.d/docker.io/hosts.toml")); string(data) != file {
			t.Errorf("after the kill at step %d: docker.io is %q, %v", k, data, err)
		}
		if !dead {
			return
		}
	}
}

// TestMovedBack turns hosts_dir back to a tree in which an earlier time left other
// files: until the drain is over, it is as the previous tree.
func TestMovedBack(t *testing.T) {
	third, harbor := retargetMap("", "mirror.gcr.io"), retargetMap("", "harbor.corp")
	old := noTargets + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"mirror.gcr.io\"]\n"
	n, host := newNode(t, third+strings.TrimPrefix(old, noTargets))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	moveTo(t, n, "/srv/certs.d", harbor)
	wantLeft(t, apply(t, n), "")
	file := hostsIn(t, n, "/srv/certs.d", "docker.io")
	moveTo(t, n, certsDir, third)
	wantLeft(t, apply(t, n), "draining docker.io: ")
	if got := hostsIn(t, n, certsDir, "docker.io"); got != file {
		t.Errorf("docker.io is %q; want %q, as it was in the other tree", got, file)
	}
	if _, err := os.Stat(n.path(certsDir, "quay.io")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("quay.io is still there from before: %v", err)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "docker.io", "mirror.gcr.io")
}

// TestMovedAhead has the files name another hosts_dir while containerd still reads
// the old one: when it starts anew, it finds there what it had.
func TestMovedAhead(t *testing.T) {
	n, host := newNode(t, retargetMap("", "harbor.corp"))
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	file := hostsOf(t, n, "docker.io")
	moveTo(t, n, "/srv/certs.d", noTargets)
	if _, _, err := n.readMap(); err != nil { // as a plan does that finds the node not armed
		t.Fatal(err)
	}
	for _, soon := range []bool{false, true, true} {
		unarmed := &NotArmedError{errors.New("restart containerd"), soon}
		if err := errors.Join(n.disarm(unarmed), n.carryAhead(t.Context(), unarmed)); err != nil {
			t.Fatal(err)
		}
		want := ""
		if soon {
			want = file
		}
		if got := hostsIn(t, n, "/srv/certs.d", "docker.io"); got != want {
			t.Errorf("files that lead there %t: docker.io is %q; want %q", soon, got, want)
		}
	}
	// containerd starts anew.
	wantLeft(t, apply(t, n), "draining docker.io: ")
	if got := hostsIn(t, n, "/srv/certs.d", "docker.io"); got != file {
		t.Errorf("docker.io is %q; want %q while it drains", got, file)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	if got := hostsIn(t, n, "/srv/certs.d", "docker.io"); got != "" {
		t.Errorf("docker.io is %q when its drain is over", got)
	}
}

// TestMovedOntoEmpty moves the tree to where an empty directory, or an empty hosts.toml,
// is in a source's place: for both containerd would ask the source, with the credential
// that it was given before. Certificates of another program stay.
func TestMovedOntoEmpty(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		kept bool
	}{
		"an empty directory":  {"", false},
		"an empty hosts.toml": {"hosts.toml", false},
		"a certificate":       {"ca.crt", true},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, retargetMap("", "harbor.corp"))
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			file := hostsOf(t, n, "docker.io")
			moveTo(t, n, "/srv/certs.d", noTargets)
			if err := os.MkdirAll(n.path("/srv/certs.d/docker.io"), 0o755); err != nil {
				t.Fatal(err)
			}
			if test.file != "" {
				if err := os.WriteFile(n.path("/srv/certs.d/docker.io", test.file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := n.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := file
			if test.kept {
				want = ""
			}
			if got := hostsIn(t, n, "/srv/certs.d", "docker.io"); got != want {
				t.Errorf("docker.io is %q; want %q", got, want)
			}
		})
	}
}
