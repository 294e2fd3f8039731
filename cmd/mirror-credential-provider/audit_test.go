//go:build linux

package main_test

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/mirror"
)

func (n tree) log() string { return filepath.Join(n.root, audit.DefaultFile) }

// readEvents reads the audit log, and holds that each line is one and that
// there is no secret in it.
func readEvents(t testing.TB, n tree) []audit.Event {
	t.Helper()
	log := audit.Open(nil, n.log())
	defer log.Close()
	var list []audit.Event
	err := log.Next(func(line []byte) error {
		e, ok := audit.Decode(line)
		if !ok || strings.Contains(string(line), azuretest.Canary) {
			t.Errorf("a line of the log: %s", line)
		}
		list = append(list, e)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

// TestAudit checks what a run leaves in the log, in both modes.
func TestAudit(t *testing.T) {
	steps := "registry challenge, managed identity, registry token exchange"
	for name, c := range map[string]struct {
		args    []string
		image   string
		fault   bool
		outcome audit.Outcome
		reason  string
		target  string // host, credential, identity and steps
	}{
		"answered":          {[]string{fromRoute}, mcrImage, false, audit.Answered, "", "foo.azurecr.io azure managed identity: " + steps},
		"empty":             {[]string{fromRoute}, "quay.io/x", false, audit.Empty, "", ""},
		"failed":            {[]string{fromRoute}, mcrImage, true, audit.Failed, "registry token exchange: ", "foo.azurecr.io azure managed identity: " + steps},
		"refused":           {[]string{fromRoute + "x"}, mcrImage, false, audit.Refused, "there are no routes", ""},
		"no image":          {[]string{fromRoute}, "", false, audit.Refused, "names no image", ""},
		"by flags":          {[]string{mirror.DefaultAzureConfig, "-r", both}, mcrImage, false, audit.Answered, "", "foo.azurecr.io  managed identity: " + steps},
		"by flags, not ACR": {[]string{mirror.DefaultAzureConfig}, "quay.io/x", false, audit.Empty, "", ""},
	} {
		cloud, acrs := startCloud(t, "foo.azurecr.io")
		if c.fault {
			acrs["foo.azurecr.io"].Fail("/oauth2/exchange", azuretest.Echo(http.StatusForbidden))
		}
		n := plant(t, toFoo)
		before := time.Now().Truncate(time.Millisecond)
		run(t, cloud, names[0], request(c.image), append(c.args, "--root="+n.root)...)
		events := readEvents(t, n)
		if len(events) != 1 {
			t.Errorf("%s: %d events", name, len(events))
			continue
		}
		e := events[0]
		host, _, _ := strings.Cut(c.image, "/")
		target := ""
		for _, to := range e.Targets {
			target = to.Host + " " + to.Credential + " " + to.Identity + ":"
			for i, step := range to.Steps {
				target += []string{" ", ", "}[min(i, 1)] + step.Name
				if step.Took <= 0 || step.Took > e.Took {
					t.Errorf("%s: %s took %v of %v", name, step.Name, step.Took, e.Took)
				}
			}
		}
		if e.Image != c.image || e.Source != host || e.Outcome != c.outcome || !strings.Contains(e.Reason, c.reason) || (e.Reason == "") != (c.reason == "") || target != c.target {
			t.Errorf("%s: the event is %+v; want %+v", name, e, c)
		}
		if e.Time.Before(before) || e.Time.After(time.Now()) || e.Took <= 0 {
			t.Errorf("%s: it was at %s, for %v", name, e.Time, e.Took)
		}
		for path, mode := range map[string]os.FileMode{n.log(): 0o600, filepath.Dir(n.log()): 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %s: %v, %v; want %v", name, path, info, err, mode)
			}
		}
	}
}

// TestAuditCode checks the code that each kind of run has in the log. Each code
// that a run may have is in the table, so that an alert on it can fire.
func TestAuditCode(t *testing.T) {
	const two = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\nshare_credential = true\ntargets = [\"foo.azurecr.io/mcr\", \"bar.azurecr.io\"]\n"
	refusing := azuretest.Echo(http.StatusForbidden)
	withdraw := func(t *testing.T, n tree) {
		n.writeRoute(t, mcr, route.Route{Source: mcr, HostsDir: mirror.DefaultHostsDir, Withdrawn: "its mirror was removed"})
	}
	seen := map[audit.Code]bool{}
	for name, c := range map[string]struct {
		text    string // of the map; toFoo if empty
		stdin   string // the request for mcrImage if empty
		prepare func(t *testing.T, n tree)
		acr     azuretest.Fault // of foo.azurecr.io
		turns   bool            // the mirror is retargeted during each fetch
		args    []string
		outcome audit.Outcome
		want    audit.Code
	}{
		"a credential":           {outcome: audit.Answered},
		"one of two":             {text: two, acr: refusing, outcome: audit.Answered, want: audit.Partial},
		"no mirror":              {stdin: request("quay.io/x"), outcome: audit.Empty},
		"no request":             {stdin: "{", outcome: audit.Refused, want: audit.BadRequest},
		"a bad image":            {stdin: request("mcr.microsoft.com/a b"), outcome: audit.Refused, want: audit.BadRequest},
		"no route":               {prepare: func(t *testing.T, n tree) { os.RemoveAll(filepath.Dir(n.route(mcr))) }, outcome: audit.Refused, want: audit.NoRoute},
		"not armed":              {prepare: func(t *testing.T, n tree) { n.arm(t, armed.Record{HostsDir: "/etc/docker/certs.d", Alone: true}) }, outcome: audit.Refused, want: audit.NotArmed},
		"stopped by the manager": {prepare: func(_ *testing.T, n tree) { armed.Stop(n.root, "config_path is another") }, outcome: audit.Refused, want: audit.NotArmed},
		"a removed mirror":       {prepare: withdraw, outcome: audit.Refused, want: audit.Draining},
		"a missing hosts.toml":   {prepare: func(_ *testing.T, n tree) { os.Remove(n.hosts(mcr)) }, outcome: audit.Refused, want: audit.HostsChanged},
		"an edited hosts.toml": {prepare: func(t *testing.T, n tree) {
			replace(t, n.hosts(mcr), func() error { return os.WriteFile(n.hosts(mcr), []byte("# mine\n"), 0o644) })
		}, outcome: audit.Refused, want: audit.HostsChanged},
		"another's hosts.toml": {stdin: request("foo.azurecr.io/x"), prepare: func(t *testing.T, n tree) {
			writeFile(t, n.root, mirror.DefaultHostsDir+"/foo.azurecr.io/hosts.toml", "# mine\n")
		}, outcome: audit.Refused, want: audit.NotInMap},
		"no azure.json":           {prepare: func(_ *testing.T, n tree) { os.Remove(filepath.Join(n.root, mirror.DefaultAzureConfig)) }, outcome: audit.Refused, want: audit.Misconfigured},
		"no azure.json, by flags": {stdin: request("foo.azurecr.io/x"), args: []string{"/nowhere.json"}, outcome: audit.Refused, want: audit.Misconfigured},
		"no token of the pod":     {text: tokenMaps["pods"], args: []string{fromRoute, "--credential=pods", "--audience=aud"}, outcome: audit.Refused, want: audit.PodToken},
		"the registry refuses":    {acr: refusing, outcome: audit.Failed, want: audit.Fetch},
		"a restless mirror":       {turns: true, outcome: audit.Refused, want: audit.Retargeted},
		"no time":                 {acr: azuretest.Hang(), args: []string{fromRoute, "--timeout=300ms"}, outcome: audit.Failed, want: audit.Timeout},
	} {
		seen[c.want] = true
		t.Run(name, func(t *testing.T) {
			cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
			if c.acr != nil {
				acrs["foo.azurecr.io"].Fail("/oauth2/exchange", c.acr)
			}
			n := plant(t, cmp.Or(c.text, toFoo), toBar)
			if c.turns {
				turn := func(text string) azuretest.Fault {
					return func(*azuretest.Exchange) bool { n.writeHosts(t, text); return false }
				}
				acrs["foo.azurecr.io"].Fail("/oauth2/exchange", turn(toBar))
				acrs["bar.azurecr.io"].Fail("/oauth2/exchange", turn(toFoo))
			}
			if c.prepare != nil {
				c.prepare(t, n)
			}
			if c.args == nil {
				c.args = []string{fromRoute}
			}
			run(t, cloud, names[0], cmp.Or(c.stdin, request(mcrImage)), append(c.args, "--token-cache=", "--root="+n.root)...)
			events := readEvents(t, n)
			if len(events) != 1 || events[0].Outcome != c.outcome || events[0].Code != c.want {
				t.Errorf("the log has %+v; want one %s with the code %q", events, c.outcome, c.want)
			}
			if len(events) == 1 && events[0].Counted() != c.want {
				t.Errorf("it counts as %q; want %q", events[0].Counted(), c.want)
			}
		})
	}
	seen[audit.Stopped] = true // in TestStop
	for _, outcome := range audit.Outcomes() {
		for _, code := range outcome.Codes() {
			if !seen[code] {
				t.Errorf("no run in the table has the code %q", code)
			}
		}
	}
}

// TestNoAudit checks that a log that cannot be written blocks no pull.
func TestNoAudit(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io")
	for name, put := range map[string]func(path string) error{
		"a named pipe":  func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory":   func(path string) error { return os.Mkdir(path, 0o755) },
		"a full device": func(path string) error { return os.Symlink("/dev/full", path) },
		"no directory":  func(path string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(path))) },
	} {
		n := plant(t, toFoo)
		if err := errors.Join(os.MkdirAll(filepath.Dir(n.log()), 0o755), put(n.log())); err != nil {
			t.Fatal(err)
		}
		got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root)
		if got.code != 0 || got.answer() != mcrAnswer || got.stderr != "" || got.took > 5*time.Second {
			t.Errorf("%s: it exits %d after %s with %s%s", name, got.code, got.took, got.answer(), got.stderr)
		}
	}
	n := plant(t, toFoo)
	if err := os.MkdirAll(filepath.Dir(n.log()), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root, "--audit-log=")
	if _, err := os.Stat(n.log()); err == nil {
		t.Error("the log is written although it is turned off")
	}
}

// listen takes what is sent to a datagram socket below a node's root.
func listen(t *testing.T, n tree, path string) *net.UnixConn {
	t.Helper()
	path = filepath.Join(n.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// received returns the datagram that a run which has ended has sent.
func received(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1<<16)
	n, err := conn.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data[:n]), azuretest.Canary) {
		t.Errorf("what is sent holds a secret: %s", data[:n])
	}
	return string(data[:n])
}

// fields decodes an entry in the journal's own protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL), without the form for several lines,
// which is not for this test.
func fields(t *testing.T, entry string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(entry) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || !strings.HasSuffix(line, "\n") || !regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`).MatchString(name) {
			t.Errorf("the journal takes no field %q", line)
		}
		all[name] = append(all[name], value)
	}
	return all
}

// TestAuditSocket checks what a run sends to the journal and to another socket.
func TestAuditSocket(t *testing.T) {
	const twice = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\nshare_credential = true\ntargets = [\"foo.azurecr.io\", \"bar.azurecr.io\"]\n"
	cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	n := plant(t, twice)
	journal, other := listen(t, n, "/run/systemd/journal/socket"), listen(t, n, "/run/runs.sock")
	for _, c := range []struct {
		image    string
		fault    bool
		outcome  audit.Outcome
		priority string
	}{
		{mcrImage, false, audit.Answered, "6"},
		{"quay.io/x", false, audit.Empty, "6"},
		{"mcr.microsoft.com/a\nMESSAGE=b", false, audit.Refused, "4"},
		{mcrImage, true, audit.Failed, "3"},
	} {
		if c.fault {
			for _, acr := range acrs {
				acr.Fail(exchange, azuretest.Echo(http.StatusForbidden))
			}
		}
		run := func(to string) {
			run(t, cloud, names[0], request(c.image), fromRoute, "--token-cache=", "--root="+n.root, "--audit-log="+to)
		}
		run("unixgram:/run/runs.sock")
		line := received(t, other)
		e, ok := audit.Decode([]byte(line))
		if !ok || e.Outcome != c.outcome || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("%q: the socket is sent %q", c.image, line)
		}
		run("journald")
		got := fields(t, received(t, journal))
		if len(got["MESSAGE"]) != 1 {
			t.Fatalf("%q: the journal is sent %v", c.image, got)
		}
		e, ok = audit.Decode([]byte(got["MESSAGE"][0]))
		want := map[string][]string{
			"MESSAGE": got["MESSAGE"], "SYSLOG_IDENTIFIER": {"mirror-credential-provider"}, "PRIORITY": {c.priority},
			"MIRRORCRED_OUTCOME": {string(c.outcome)}, "MIRRORCRED_IMAGE": {e.Image},
		}
		if e.Source != "" {
			want["MIRRORCRED_SOURCE"] = []string{e.Source}
		}
		for _, to := range e.Targets {
			want["MIRRORCRED_TARGET"] = append(want["MIRRORCRED_TARGET"], to.Host)
		}
		if !ok || e.Outcome != c.outcome || !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%q: the journal is sent %v; want %v", c.image, got, want)
		}
		if hasTargets := strings.HasPrefix(c.image, mcrImage); hasTargets != (len(want["MIRRORCRED_TARGET"]) == 2) {
			t.Errorf("%q: its targets are %v", c.image, want["MIRRORCRED_TARGET"])
		}
	}
	if _, err := os.Stat(n.log()); err == nil {
		t.Error("there is a file besides")
	}
}

// TestNoAuditSocket checks that a socket without a listener, or a file in its
// place, blocks no pull.
func TestNoAuditSocket(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io")
	n := plant(t, toFoo)
	listen(t, n, "/dead").Close()
	writeFile(t, n.root, "/file", "")
	if err := os.Mkdir(filepath.Join(n.root, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"unixgram:/dead", "unixgram:/file", "unixgram:/directory", "unixgram:/" + strings.Repeat("long/", 50), "journald"} {
		got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root, "--audit-log="+to)
		if got.code != 0 || got.answer() != mcrAnswer || got.stderr != "" {
			t.Errorf("%s: it exits %d with %s%s", to, got.code, got.answer(), got.stderr)
		}
	}
}
