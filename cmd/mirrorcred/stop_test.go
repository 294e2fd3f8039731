package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// How many mirrors a map has: for a run that takes long enough for a signal, for one
// that prints more than a pipe holds, and for a diff that does.
const manyStops, someStops, fewStops = 3000, 1500, 600

// stopMap returns a map in which a third of the sources is new, gone, or
// elsewhere in the second version.
func stopMap(version, count int) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range count {
		target := "contoso.azurecr.io"
		switch {
		case i%3 == version:
			continue // i%3 == 1 goes in the second version, i%3 == 2 is not yet in the first
		case i%3 == 0 && version == 1:
			target = "fabrikam.azurecr.io"
		}
		fmt.Fprintf(&b, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [%q]\n", i, target)
	}
	return b.String()
}

// TestStop stops apply by a signal behind a change that it has printed: the tree
// is whole, what was printed is what was done, and the next run goes on.
func TestStop(t *testing.T) {
	n := newTree(t)
	before, after := renderedOf(t, stopMap(2, manyStops)), renderedOf(t, stopMap(1, manyStops))
	for _, one := range []struct {
		from, text string
		mark       string // of the line at which it is stopped
		signal     syscall.Signal
	}{
		{"version = 1\n", stopMap(2, manyStops), "created  /var/lib/mirrorcred/routes/", syscall.SIGINT},
		{"version = 1\n", stopMap(2, manyStops), "created  /etc/containerd/certs.d/", syscall.SIGTERM},
		{"version = 1\n", stopMap(2, manyStops), "", 0},
		{stopMap(2, manyStops), stopMap(1, manyStops), "changed  /var/lib/mirrorcred/routes/", syscall.SIGTERM},
		{stopMap(2, manyStops), stopMap(1, manyStops), "changed  /etc/containerd/certs.d/", syscall.SIGINT},
		{stopMap(2, manyStops), stopMap(1, manyStops), "removed  /etc/containerd/certs.d/", syscall.SIGTERM},
		{stopMap(2, manyStops), stopMap(1, manyStops), "removed  /var/lib/mirrorcred/routes/", syscall.SIGINT},
		{stopMap(2, manyStops), stopMap(1, manyStops), "", 0},
	} {
		n.write(mapPath, one.text)
		for tries := 1; !n.stopAt(one.mark, one.signal); tries++ {
			if tries == 10 {
				t.Fatalf("%s: it was over before the signal, %d times", one.mark, tries)
			}
			n.write(mapPath, one.from)
			n.stopAt("", 0)
			n.write(mapPath, one.text)
		}
		n.checkStopped(before, after)
	}
}

// stopAt runs apply, and sends it a signal, and two more, at a line of its output,
// "" for not at all. False means that it was over before.
func (n tree) stopAt(mark string, signal syscall.Signal) bool {
	n.Helper()
	seen := snapshotOf(n)
	cmd := program(n, "apply", "--root", n.root)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		n.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	printed := map[string]string{} // what was done, by path
	isMarked := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if what, name, ok := strings.Cut(lines.Text(), "  "); ok {
			printed[name] = what
		}
		if !isMarked && mark != "" && strings.HasPrefix(lines.Text(), mark) {
			isMarked = true
			// The same each time: of two that come together either may be the first.
			for range 3 {
				_ = cmd.Process.Signal(signal) // it may be over
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	_ = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	switch {
	case code == 0:
		return mark == ""
	case !isMarked || code != 128+int(signal):
		n.Fatalf("%s: exit code %d, %q", mark, code, stderr.String())
	}
	var made, all int
	if _, err := fmt.Sscanf(stderr.String(), "mirrorcred: interrupted after %d of %d changes; run this again to go on\n", &made, &all); err != nil || made != len(printed) || made >= all {
		n.Errorf("%s: it printed %d changes, and then %q", mark, len(printed), stderr.String())
	}
	now := snapshotOf(n)
	for _, dir := range []string{"/etc/containerd/certs.d", "/var/lib/mirrorcred/routes"} {
		for name := range union(seen, now) {
			if _, ok := printed[name]; strings.HasPrefix(name, dir) && (seen[name] != now[name]) != ok {
				n.Errorf("%s: %s: changed %v, printed %v", mark, name, seen[name] != now[name], ok)
			}
		}
	}
	return true
}

// snapshotOf returns the files of a node by their names on it.
func snapshotOf(n tree) map[string]string {
	files := map[string]string{}
	err := filepath.WalkDir(n.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, n.root)] = string(data)
		return err
	})
	if err != nil {
		n.Fatal(err)
	}
	return files
}

func union(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// renderedOf returns the hosts.toml files of a map by their namespaces.
func renderedOf(t *testing.T, text string) map[string]string {
	m, err := mirror.Parse("map", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, f := range files {
		list[f.Namespace] = string(f.Data)
	}
	return list
}

// checkStopped holds that each namespace is as one of two maps has it, with a route
// that answers for it, and that nothing half built is left.
func (n tree) checkStopped(maps ...map[string]string) {
	n.Helper()
	inForce := map[string]bool{}
	for name, text := range snapshotOf(n) {
		if strings.Contains(name, ".mirrorcred-") {
			n.Errorf("%s is left", name)
		}
		rest, ok := strings.CutPrefix(name, "/etc/containerd/certs.d/")
		if !ok {
			continue
		}
		ns := strings.TrimSuffix(rest, "/hosts.toml")
		inForce[ns] = true
		if !slices.ContainsFunc(maps, func(m map[string]string) bool { return m[ns] == text }) {
			n.Errorf("%s is of neither map:\n%s", name, text)
		}
		r, err := route.Decode([]byte(n.read("var/lib/mirrorcred/routes/" + ns + ".json")))
		if err != nil || !slices.ContainsFunc(r.Generations, func(g route.Generation) bool { return g.SHA256 == hosts.Hash([]byte(text)) }) {
			n.Errorf("%s has no route: %v", name, err)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(n.root, "etc/containerd/certs.d")) // not there yet
	for _, e := range entries {
		if !inForce[e.Name()] {
			n.Errorf("%s is empty", e.Name())
		}
	}
}

// TestStopJSON has a stopped run say as JSON what it did. A run that was over before
// the signal came proves nothing, and another one is stopped.
func TestStopJSON(t *testing.T) {
	for range 20 {
		if stopsWithJSON(t) {
			return
		}
	}
	t.Error("each run was over before the signal came")
}

// stopsWithJSON stops a run, and reports whether it had not ended by itself.
func stopsWithJSON(t *testing.T) bool {
	t.Helper()
	n := newTree(t)
	n.write(mapPath, stopMap(2, fewStops))
	cmd := program(t, "apply", "--json", "--root", n.root)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.until("a first hosts.toml", func() bool {
		found, _ := filepath.Glob(filepath.Join(n.root, "etc/containerd/certs.d/r*"))
		return len(found) > 0
	})
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if cmd.Wait() == nil {
		return false
	}
	var did struct {
		InSync  bool `json:"in_sync"`
		DryRun  bool `json:"dry_run"`
		Changes []struct{ Path string }
	}
	err := json.Unmarshal(stdout.Bytes(), &did)
	var made, all int
	_, err2 := fmt.Sscanf(stderr.String(), "mirrorcred: interrupted after %d of %d", &made, &all)
	if err := errors.Join(err, err2); err != nil || cmd.ProcessState.ExitCode() != 143 || did.InSync || did.DryRun || len(did.Changes) != made || made == 0 {
		t.Errorf("%v: exit code %d, in sync %v, %d changes, %q", err, cmd.ProcessState.ExitCode(), did.InSync, len(did.Changes), stderr.String())
	}
	return true
}

// TestStopWaiting stops a run that waits for another one.
func TestStopWaiting(t *testing.T) {
	n := newTree(t)
	n.write("var/lib/mirrorcred/lock", "")
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	f, err := os.Open(filepath.Join(n.root, "var/lib/mirrorcred/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	n.endsBy(syscall.SIGTERM, 143, "mirrorcred: interrupted before the first change; run this again\n", "apply", "--root", n.root)
}

// endsBy runs a program that ends soon after a signal, by its exit code, or for a
// negative one by the signal itself.
func (n tree) endsBy(s syscall.Signal, code int, said string, args ...string) {
	n.Helper()
	cmd := program(n, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond) // there is nothing to be seen of a program that waits
	if err := cmd.Process.Signal(s); err != nil {
		n.Fatalf("%q has ended: %v", args, err)
	}
	began := time.Now()
	_ = cmd.Wait()
	if took := time.Since(began); took > 3*time.Second {
		n.Errorf("%q: it ended %v after the signal", args, took)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.ExitStatus() != code || code < 0 && status.Signal() != s || stderr.String() != said {
		n.Errorf("%q: it ended with %v, %q", args, cmd.ProcessState, stderr.String())
	}
}

// TestStopOthers stops the other commands that run long.
func TestStopOthers(t *testing.T) {
	n := newTree(t)
	silent, err := net.Listen("unix", filepath.Join(n.root, "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		n.endsBy(s, 0, "", "events", "-f", "--root", n.root)
		n.endsBy(s, -1, "", "status", "--socket", silent.Addr().String())
	}
}

// TestStopDryRun stops a dry run whose diff no program reads.
func TestStopDryRun(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, stopMap(2, fewStops))
	cmd := program(t, "apply", "-n", "--diff", "--root", n.root)
	out, err := cmd.StdoutPipe() // no program reads it
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}

// TestUnreadOutput leaves the output of apply unread: the node is in sync anyway,
// its lock is free, and a signal ends the run.
func TestUnreadOutput(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, stopMap(2, someStops))
	cmd := program(t, "apply", "--root", n.root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.until("changes", func() bool {
		_, err := os.Stat(filepath.Join(n.root, "var/lib/mirrorcred/routes"))
		return err == nil
	})
	n.until("in sync", func() bool {
		return program(t, "apply", "--wait", "1ms", "--root", n.root).Run() == nil
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("it has ended: %v", err)
	}
	began := time.Now()
	_ = cmd.Wait() // it closes the pipe
	if took := time.Since(began); cmd.ProcessState.ExitCode() != 0 || took > 5*time.Second {
		t.Errorf("it ended with %v after %v", cmd.ProcessState, took)
	}
	out.Close()

	// One that has gone does not end a run halfway either.
	n.write(mapPath, stopMap(1, someStops))
	cmd = program(t, "apply", "--root", n.root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "broken pipe") {
		t.Errorf("it ended with %v, %q", err, stderr.String())
	}
	if err := program(t, "apply", "-n", "--root", n.root).Run(); err != nil {
		t.Errorf("the node is not in sync: %v", err)
	}
}

// TestStopWatch stops a watcher in the middle of its first pass: it ends with 0, the
// tree is whole, and the next one goes on.
func TestStopWatch(t *testing.T) {
	n := newTree(t)
	text := stopMap(2, manyStops)
	n.write(mapPath, text)
	whole := renderedOf(t, text)
	for tries := 1; ; tries++ {
		_, stop := n.watch()
		n.until("routes", func() bool {
			routes, _ := filepath.Glob(filepath.Join(n.root, "var/lib/mirrorcred/routes/r*"))
			return len(routes) > 0
		})
		log := stop()
		n.checkStopped(whole)
		if strings.Contains(log, `msg="interrupted between two changes; the next start goes on" made=`) {
			break
		}
		if tries == 10 {
			t.Fatalf("it was over before the signal, %d times; the log is\n%s", tries, log)
		}
		for _, dir := range []string{"var/lib/mirrorcred", "etc/containerd/certs.d"} {
			if err := os.RemoveAll(filepath.Join(n.root, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, stop := n.watch()
	n.until("in sync", func() bool { return n.status().InSync })
	stop()
	n.checkStopped(whole)
}
