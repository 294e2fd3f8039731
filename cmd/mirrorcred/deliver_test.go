package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A delivering node has a map that delivers the credential of a registry on loopback.
type deliveringNode struct {
	*testing.T
	root     string
	registry *httptest.Server
	log      *lockedLog

	mu       sync.Mutex
	password string // that the registry accepts
}

// A lockedLog is a log that a test reads while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const deliverCanary = "CANARY-OF-DELIVER"

func newDeliveringNode(t *testing.T) *deliveringNode {
	n := &deliveringNode{T: t, root: t.TempDir(), log: &lockedLog{}, password: deliverCanary + "1"}
	n.registry = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, password, _ := r.BasicAuth(); password != n.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(n.registry.Close)
	n.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.registry.Certificate().Raw})))
	n.login(n.password)
	n.write("etc/mirrorcred/mirrors.toml", n.mirrors("hosts"))
	return n
}

func (n *deliveringNode) write(name, text string) {
	n.Helper()
	path := filepath.Join(n.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		n.Fatal(err)
	}
}

// login writes the docker config.json with a password.
func (n *deliveringNode) login(password string) {
	n.write("robot.json", fmt.Sprintf(`{"auths":{%q:{"username":"robot","password":%q}}}`, n.host(), password))
}

func (n *deliveringNode) host() string { return strings.TrimPrefix(n.registry.URL, "https://") }

// mirrors returns a map whose credential is delivered that way.
func (n *deliveringNode) mirrors(how string) string {
	return fmt.Sprintf("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"%[1]s\"]\n[registry.%[1]q]\ncredential = \"robot\"\ndeliver = %[2]q\nca = \"/ca.pem\"\n[credential.robot]\nkind = \"docker-config\"\npath = \"/robot.json\"\n", n.host(), how)
}

func (n *deliveringNode) delivery() *delivery {
	return newDelivery(node.New(n.root, "", false), slog.New(slog.NewTextHandler(n.log, nil)))
}

// value returns what was handed over, and false if nothing was.
func (n *deliveringNode) value() (handover.Value, bool) {
	n.Helper()
	store := handover.New(filepath.Join(n.root, handover.Dir))
	keys, err := store.Keys()
	if err != nil {
		n.Fatal(err)
	}
	if len(keys) == 0 {
		return handover.Value{}, false
	}
	v, err := store.Value(keys[0])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.Fatal(err)
	}
	return v, err == nil
}

// until waits for a condition.
func (n *deliveringNode) until(what string, is func() bool) {
	n.Helper()
	for began := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			n.Fatalf("%s does not come; the log is\n%s", what, n.log)
		}
	}
}

// endsUnwanted checks that a run goes on while systemd would start it again, and ends
// after that.
func (n *deliveringNode) endsUnwanted(done <-chan error) {
	n.Helper()
	select {
	case err := <-done:
		n.Fatalf("it ended while it is wanted: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	if err := os.Remove(filepath.Join(n.root, "run/mirrorcred/deliver-wanted")); err != nil {
		n.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			n.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		n.Errorf("it goes on; the log is\n%s", n.log)
	}
}

func (n *deliveringNode) has(password string) func() bool {
	return func() bool {
		v, ok := n.value()
		return ok && v.Authorization.Reveal() == "Basic "+base64.StdEncoding.EncodeToString([]byte("robot:"+password))
	}
}

// TestDeliver follows the command: a credential is delivered, one that changes is
// delivered anew, a map with a fault leaves it, and a map that no longer wants it ends
// the command and removes it.
func TestDeliver(t *testing.T) {
	n := newDeliveringNode(t)
	done := make(chan error, 1)
	d := n.delivery()
	go func() { done <- d.run(t.Context()) }()
	n.until("the first credential", n.has(deliverCanary+"1"))

	n.mu.Lock()
	n.password = deliverCanary + "2"
	n.mu.Unlock()
	n.login(n.password)
	n.until("the changed credential", n.has(deliverCanary+"2"))

	n.write("etc/mirrorcred/mirrors.toml", "version = 2\n")
	n.until("the map's fault", func() bool { return strings.Contains(n.log.String(), "map not used") })
	if !n.has(deliverCanary + "2")() {
		t.Error("a map with a fault took the credential away")
	}

	// One that systemd has started does not end before that would not start it again.
	n.write("run/mirrorcred/deliver-wanted", "")
	n.write("etc/mirrorcred/mirrors.toml", n.mirrors("kubelet"))
	n.until("the removal", func() bool { _, ok := n.value(); return !ok })
	n.endsUnwanted(done)
	log := n.log.String()
	for _, want := range []string{"credential delivered\" registry=" + n.host(), "credential renewed\" registry=" + n.host(), "map used again\" fault=", "credential removed"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, deliverCanary) || strings.Contains(log, "Basic ") {
		t.Errorf("the log has the credential:\n%s", log)
	}
}

// TestDeliverOnce checks one pass: what it prints, and that a refusal is an error that
// does not repeat the credential.
func TestDeliverOnce(t *testing.T) {
	n := newDeliveringNode(t)
	results, err := n.delivery().once(t.Context())
	if err != nil || failedDelivery(results) != nil || !n.has(deliverCanary+"1")() {
		t.Fatalf("%+v, %v", results, err)
	}
	var out strings.Builder
	if err := printDelivered(&out, results); err != nil || out.String() != n.host()+"  credential robot: delivered, does not expire\n" {
		t.Errorf("it prints %q, %v", out.String(), err)
	}

	n.login(deliverCanary + "wrong")
	time.Sleep(1100 * time.Millisecond) // times of a value are whole seconds
	n.login(deliverCanary + "wrong")
	results, err = n.delivery().once(t.Context())
	out.Reset()
	if err := errors.Join(err, printDelivered(&out, results)); err != nil || failedDelivery(results) == nil {
		t.Fatalf("%+v, %v", results, err)
	}
	if !strings.Contains(out.String(), "401 Unauthorized") || strings.Contains(out.String(), deliverCanary) {
		t.Errorf("it prints %q", out.String())
	}
	if !n.has(deliverCanary + "1")() {
		t.Error("the credential that the registry accepts is gone")
	}
}

// TestDeliverDue checks that -n says what a pass would ask for, asks nothing and writes
// nothing.
func TestDeliverDue(t *testing.T) {
	n := newDeliveringNode(t)
	prints := func(want string) {
		t.Helper()
		var out strings.Builder
		if err := n.delivery().printDue(&out); err != nil || out.String() != n.host()+"  credential robot: "+want+"\n" {
			t.Errorf("it prints %q, %v; want %q", out.String(), err, want)
		}
	}
	prints("not delivered; would be fetched, and tried at the registry")
	if _, err := os.Lstat(filepath.Join(n.root, "var/lib/mirrorcred/delivered")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it writes: %v", err)
	}
	unlock, err := n.delivery().lock()
	if err != nil {
		t.Fatal(err)
	}
	prints("not delivered; would be fetched, and tried at the registry")
	unlock()
	if _, err := n.delivery().once(t.Context()); err != nil {
		t.Fatal(err)
	}
	prints("delivered, does not expire; stays")
	time.Sleep(1100 * time.Millisecond) // times of a value are whole seconds
	n.login(deliverCanary + "changed")
	prints("delivered, does not expire; would be fetched, and tried at the registry")

	n.write("etc/mirrorcred/mirrors.toml", n.mirrors("kubelet"))
	var out strings.Builder
	if err := n.delivery().printDue(&out); err != nil || out.String() != "the map delivers no credential into hosts.toml, so there is nothing to fetch\n" {
		t.Errorf("with nothing to deliver it prints %q, %v", out.String(), err)
	}
}

// TestDeliverAlone checks that one process asks at a time.
func TestDeliverAlone(t *testing.T) {
	n := newDeliveringNode(t)
	unlock, err := n.delivery().lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.delivery().lock(); !errors.Is(err, errDelivering) {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	if unlock, err = n.delivery().lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestDeliverFor checks what apply does before it plans: it says until when a credential
// holds, leaves a process that asks alone, and removes what the map no longer wants.
func TestDeliverFor(t *testing.T) {
	n := newDeliveringNode(t)
	end := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	n.password = part("{}") + "." + part(fmt.Sprintf(`{"exp":%d}`, end.Unix())) + ".s"
	n.login(n.password)
	pass := func() []string {
		t.Helper()
		notes, err := deliverFor(context.Background(), node.New(n.root, "", false))
		if err != nil {
			t.Fatal(err)
		}
		return notes
	}
	unlock, err := n.delivery().lock()
	if err != nil {
		t.Fatal(err)
	}
	if notes := pass(); len(notes) > 0 {
		t.Errorf("beside another: %q", notes)
	}
	unlock()
	if notes := pass(); len(notes) != 1 || !strings.Contains(notes[0], "is valid until "+end.Format(time.RFC3339)) {
		t.Errorf("the notes are %q", notes)
	}
	n.write("etc/mirrorcred/mirrors.toml", n.mirrors("kubelet"))
	if notes := pass(); len(notes) > 0 {
		t.Errorf("the notes are %q", notes)
	}
	if _, ok := n.value(); ok {
		t.Error("the credential stays although the map does not deliver it")
	}
}

// TestIsLocked tells whether a process asks registries by the lock that it holds, and makes
// no file to find that out.
func TestIsLocked(t *testing.T) {
	n := newDeliveringNode(t)
	path := filepath.Join(n.root, deliverLock)
	if isLocked(path) {
		t.Error("it is locked before any process runs")
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to look made the lock: %v", err)
	}
	unlock, err := n.delivery().lock()
	if err != nil {
		t.Fatal(err)
	}
	if !isLocked(path) {
		t.Error("a process holds the lock, and it is not seen")
	}
	unlock()
	if isLocked(path) {
		t.Error("it is locked after the process has ended")
	}
	if unlock, err = n.delivery().lock(); err != nil {
		t.Fatalf("to look keeps the lock: %v", err)
	}
	unlock()
}
