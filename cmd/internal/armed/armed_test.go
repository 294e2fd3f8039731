//go:build linux

package armed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

func TestEncode(t *testing.T) {
	r := Record{HostsDir: "/etc/containerd/certs.d", Process: Process{"boot", 7, 120 * Tick}, Alone: true, Files: []File{NewContent("/a", []byte("b"))}}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data)
	if err != nil || got.HostsDir != r.HostsDir || got.Process != r.Process || !got.Alone || len(got.Files) != 1 || got.Files[0] != r.Files[0] {
		t.Errorf("Decode(%s) = %+v, %v; want %+v", data, got, err, r)
	}
	for name, text := range map[string]string{
		"cut":     string(data[:len(data)-9]),
		"empty":   "",
		"changed": strings.Replace(string(data), "true", "null", 1),
		"later":   strings.Replace(string(data), `{"hosts_dir"`, `{"later":1,"hosts_dir"`, 1),
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%s: Decode(%q) succeeds", name, text)
		}
	}
}

// TestProcess tells a process that runs from one that has ended, from one that
// no one has waited for yet, and from another with its number.
func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	boot, err := Boot()
	if err != nil {
		t.Fatal(err)
	}
	_, start, err := ReadStat(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid)))
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Process: Process{boot, cmd.Process.Pid, start}}
	holds := func(what string, r Record, want bool) {
		t.Helper()
		if err := r.holds(""); (err == nil) != want {
			t.Errorf("%s: Holds = %v; want it to hold %t", what, err, want)
		}
	}
	holds("it runs", r, true)
	if err := r.holds("/"); err == nil {
		t.Error("below another root: Holds succeeds; want no process to count there")
	}
	other := r
	other.Process.Start += Tick
	holds("a later one of that number", other, false)
	other = r
	other.Process.Boot = "another"
	holds("one of another boot", other, false)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // until it is a zombie
		if state, _, err := ReadStat(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid))); err != nil || state == 'Z' {
			break
		}
	}
	holds("a zombie", r, false)
	_ = cmd.Wait()
	holds("it has ended", r, false)
	r.Alone = true
	holds("it has ended, and the files alone do", r, true)
}

// TestFiles changes each kind of what is recorded.
func TestFiles(t *testing.T) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(){
		"":                      func() {},
		"touched":               func() { write("/etc/real/main.toml", "one") },
		"/etc/link/main.toml":   func() { write("/etc/real/main.toml", "two") },
		"/etc/link":             func() { check(os.Remove(at("/etc/link"))); check(os.Symlink("other", at("/etc/link"))) },
		"/etc/link no link":     func() { check(os.Remove(at("/etc/link"))); write("/etc/link/main.toml", "one") },
		"/bin/containerd":       func() { write("/bin/containerd", "longer") },
		"/bin/containerd gone":  func() { check(os.Remove(at("/bin/containerd"))) },
		"/etc/conf.d/*.toml":    func() { write("/etc/conf.d/b.toml", "") },
		"/etc/conf.d/*.toml -":  func() { check(os.Remove(at("/etc/conf.d/a.toml"))) },
		"/opt/bin/containerd +": func() { write("/opt/bin/containerd", "") },
	} {
		check(os.RemoveAll(at("/")))
		write("/etc/real/main.toml", "one")
		write("/etc/other/main.toml", "one")
		write("/etc/conf.d/a.toml", "")
		write("/bin/containerd", "elf")
		check(os.Symlink("real", at("/etc/link")))
		links, err := NewLinks(input.NewRoot(root), "/etc/link/main.toml")
		check(err)
		absent, err := NewLinks(input.NewRoot(root), "/opt/bin/containerd")
		check(err)
		info, err := os.Stat(at("/bin/containerd"))
		check(err)
		r := Record{Alone: true, Files: append(append(links, absent...),
			NewContent("/etc/link/main.toml", []byte("one")), NewProgram("/bin/containerd", info), NewMatches("/etc/conf.d/*.toml", []string{"/etc/conf.d/a.toml"}))}
		change()
		path, _, _ := strings.Cut(name, " ")
		err = r.holds(root)
		if same := name == "" || name == "touched"; same != (err == nil) || !same && !strings.Contains(err.Error(), path) {
			t.Errorf("%q: Holds = %v; want %q in it, or nil if nothing differs", name, err, path)
		}
	}
}

// TestMarker checks that a marker is there until one that saw it takes it away.
func TestMarker(t *testing.T) {
	root := t.TempDir()
	stopped := func(want string) {
		t.Helper()
		err := Stopped(root)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Stopped = %v; want %q", err, want)
		}
	}
	stop := func(why string) {
		t.Helper()
		if err := Stop(root, why); err != nil {
			t.Fatal(err)
		}
	}
	stopped("")
	stop("the first")
	stopped("the first")
	seen := Seen(root)
	stop("the first") // again, by another that found it later
	if err := Resume(root, seen); err == nil {
		t.Error("Resume takes a later marker away")
	}
	stopped("the first")
	if err := Resume(root, Seen(root)); err != nil {
		t.Error(err)
	}
	stopped("")
	if err := Resume(root, Mark{}); err != nil {
		t.Errorf("Resume without a marker: %v", err)
	}
	if info, err := os.Stat(filepath.Join(root, filepath.Dir(Marker))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the marker's directory: %v, %v; want mode 0700", info.Mode(), err)
	}

	// What cannot be looked at stops the plugin, so the plugin is not resumed.
	root = t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, filepath.Dir(Marker)), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stopped("not a directory")
	if err := Resume(root, Seen(root)); err == nil || !strings.Contains(err.Error(), "make "+filepath.Join(root, filepath.Dir(Marker))+" a directory") {
		t.Errorf("Resume with a file in place of the marker's directory: %v; want what to do", err)
	}
}
