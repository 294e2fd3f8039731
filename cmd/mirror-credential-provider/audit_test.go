package main_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

func (n tree) log() string { return filepath.Join(n.root, audit.DefaultFile) }

// readEvents reads the audit log, and holds that each line is one and that
// there is no secret in it.
func readEvents(t *testing.T, n tree) []audit.Event {
	t.Helper()
	log := audit.Open(n.log())
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

// TestAudit holds what a run leaves in the log, in both modes.
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
		for path, mode := range map[string]os.FileMode{n.log(): 0o640, filepath.Dir(n.log()): 0o750} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %s: %v, %v; want %v", name, path, info, err, mode)
			}
		}
	}
}

// TestNoAudit holds that a log which cannot be written stops nobody.
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
