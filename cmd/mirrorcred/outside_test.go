package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// A struck node has so many mirrors that the watcher does not look at files without an
// event. Each strike is at another mirror, so that none is about a file that the watcher has
// just repaired.
type struck struct {
	tree
	cmd  *exec.Cmd
	next int
}

const (
	certsDir  = "etc/containerd/certs.d"
	routesAt  = "var/lib/mirrorcred/routes"
	elsewhere = "srv"
)

// strike starts a watcher, and has it remember each file. prepare is called once the files
// are there.
func strike(t *testing.T, prepare func(n *struck)) (n *struck, stop func() string) {
	n = &struck{tree: newTree(t)}
	n.write(mapPath, manyMirrors(250, "contoso.azurecr.io"))
	n.cmd, stop = n.watch(never)
	n.until("in sync", n.inSync)
	n.must(os.Mkdir(n.path(elsewhere), 0o755))
	prepare(n)
	time.Sleep(3500 * time.Millisecond) // so that each file is remembered by its time too
	for range 3 {
		n.pass()
	}
	n.until("in sync again", n.inSync)
	return n, stop
}

func (n *struck) ask() watch.Status {
	s, err := watch.ReadStatus(n.Context(), nil, n.path("run/mirrorcred/status/status.sock"))
	if err != nil {
		return watch.Status{}
	}
	return s
}

func (n *struck) inSync() bool { return n.ask().InSync }

// pass asks for a pass, and waits for it.
func (n *struck) pass() {
	n.Helper()
	before := n.ask().LastReconcile
	n.must(n.cmd.Process.Signal(syscall.SIGHUP))
	n.until("a pass", func() bool { return n.ask().LastReconcile.After(before) })
}

// target returns the next mirror's hosts.toml and route.
func (n *struck) target() (hostsFile, route string) {
	n.next++
	return fmt.Sprintf("%s/r%d.example/hosts.toml", certsDir, n.next), fmt.Sprintf("%s/r%d.example.json", routesAt, n.next)
}

func (n *struck) exchange(a, b string) {
	n.Helper()
	n.must(unix.Renameat2(unix.AT_FDCWD, n.path(a), unix.AT_FDCWD, n.path(b), unix.RENAME_EXCHANGE))
}

func (n *struck) rename(from, to string) { n.Helper(); n.must(os.Rename(n.path(from), n.path(to))) }
func (n *struck) empty(name string)      { n.Helper(); n.must(os.Truncate(n.path(name), 0)) }
func (n *struck) remove(name string)     { n.Helper(); n.must(os.RemoveAll(n.path(name))) }

// copy puts a copy of a directory at a new path, with the times of its files.
func (n *struck) copy(from, to string) {
	n.Helper()
	if out, err := exec.CommandContext(n.Context(), "cp", "-a", n.path(from), n.path(to)).CombinedOutput(); err != nil {
		n.Fatalf("%v\n%s", err, out)
	}
}

// moved moves a directory away, puts a copy there, and has change change that.
func (n *struck) moved(dir string, change func()) {
	n.Helper()
	n.copy(dir, elsewhere+"/copy")
	n.rename(dir, elsewhere+"/old")
	n.rename(elsewhere+"/copy", dir)
	change()
	n.remove(elsewhere + "/old")
}

// TestDriftRepairedAtOnce has other programs change files in every way that they have. Each change is
// noticed at once: no tick comes.
func TestDriftRepairedAtOnce(t *testing.T) {
	t.Parallel() // most of the time is waiting
	n, stop := strike(t, func(*struck) {})
	for _, one := range []struct {
		what   string
		strike func(hostsFile, route string)
	}{
		{"emptied", func(hostsFile, route string) { n.empty(hostsFile); n.empty(route) }},
		{"the route edited in place", func(_, route string) {
			n.must(os.WriteFile(n.path(route), []byte(strings.Replace(n.read(route), "contoso", "fabrikm", 1)), 0o644))
		}},
		{"removed", func(hostsFile, route string) { n.remove(hostsFile); n.remove(route) }},
		{"renamed away", func(hostsFile, route string) {
			n.rename(hostsFile, elsewhere+"/hosts.toml")
			n.rename(route, elsewhere+"/route")
		}},
		{"renamed over", func(hostsFile, route string) {
			for _, name := range []string{hostsFile, route} {
				n.must(os.WriteFile(n.path(elsewhere+"/empty"), nil, 0o644))
				n.rename(elsewhere+"/empty", name)
			}
		}},
		{"exchanged", func(hostsFile, route string) {
			for i, name := range []string{hostsFile, route} {
				other := fmt.Sprintf("%s/exchanged%d", elsewhere, i)
				n.must(os.WriteFile(n.path(other), nil, 0o644))
				n.exchange(name, other)
			}
		}},
		{"two routes exchanged", func(_, route string) {
			_, other := n.target()
			n.exchange(route, other)
		}},
		{"the directory removed", func(hostsFile, _ string) { n.remove(filepath.Dir(hostsFile)) }},
		{"the directory exchanged", func(hostsFile, _ string) {
			n.must(os.Mkdir(n.path(elsewhere+"/none"), 0o755))
			n.exchange(filepath.Dir(hostsFile), elsewhere+"/none")
		}},
		{"the directory moved away, emptied and put back", func(hostsFile, _ string) {
			n.rename(filepath.Dir(hostsFile), elsewhere+"/away")
			n.empty(elsewhere + "/away/hosts.toml")
			n.rename(elsewhere+"/away", filepath.Dir(hostsFile))
		}},
		{"hosts_dir moved away, and a changed copy put there", func(hostsFile, _ string) {
			n.moved(certsDir, func() { n.empty(hostsFile) })
		}},
		{"the directory above replaced", func(hostsFile, _ string) {
			n.moved("etc/containerd", func() { n.empty(hostsFile) })
		}},
		{"the routes replaced", func(_, route string) { n.moved(routesAt, func() { n.empty(route) }) }},
		{"what is above the routes replaced", func(_, route string) { n.moved("var", func() { n.remove(route) }) }},
		{"hosts_dir exchanged with a changed copy", func(hostsFile, _ string) {
			n.copy(certsDir, elsewhere+"/exchange")
			n.empty(strings.Replace(hostsFile, certsDir, elsewhere+"/exchange", 1))
			n.exchange(certsDir, elsewhere+"/exchange")
			n.remove(elsewhere + "/exchange")
		}},
		{"what is above hosts_dir a link, changed behind it, and back", func(hostsFile, _ string) {
			n.rename("etc/containerd", elsewhere+"/containerd")
			n.must(os.Symlink("/"+elsewhere+"/containerd", n.path("etc/containerd")))
			n.pass()
			n.remove("etc/containerd")
			n.rename(elsewhere+"/containerd", "etc/containerd")
			n.empty(hostsFile)
		}},
		{"mode 0000 and back, and then emptied", func(hostsFile, route string) {
			for _, name := range []string{hostsFile, route, filepath.Dir(hostsFile)} {
				info, err := os.Stat(n.path(name))
				n.must(err)
				n.must(os.Chmod(n.path(name), 0))
				n.must(os.Chmod(n.path(name), info.Mode()))
			}
			n.empty(hostsFile)
			n.empty(route)
		}},
		{"twice, while it is repaired", func(hostsFile, route string) {
			n.empty(hostsFile)
			time.Sleep(22 * time.Millisecond)
			n.remove(filepath.Dir(hostsFile))
			n.remove(route)
		}},
	} {
		hostsFile, route := n.target()
		wholeHosts, wholeRoute := n.read(hostsFile), n.read(route)
		if wholeHosts == "" || wholeRoute == "" {
			t.Fatalf("%s: %s or %s is missing", one.what, hostsFile, route)
		}
		one.strike(hostsFile, route)
		n.until(one.what, func() bool { return n.read(hostsFile) == wholeHosts && n.read(route) == wholeRoute && n.inSync() })
	}
	if log := stop(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestEditsConflictAtOnce has an operator edit files in place, and put them back.
func TestEditsConflictAtOnce(t *testing.T) {
	t.Parallel() // most of the time is waiting
	n, stop := strike(t, func(*struck) {})
	for range 3 {
		hostsFile, _ := n.target()
		whole := n.read(hostsFile)
		edit := func(text string) { n.must(os.WriteFile(n.path(hostsFile), []byte(text), 0o644)) }
		edit(strings.Replace(whole, "contoso", "fabrikm", 1))
		n.until("a conflict", func() bool { return len(n.ask().Conflicts) == 1 })
		edit(whole)
		n.until("put back", n.inSync)
	}
	stop()
}

// TestDriftThroughOtherPaths changes files by another path: where a link leads, and by another
// name of the same file.
func TestDriftThroughOtherPaths(t *testing.T) {
	t.Parallel() // most of the time is waiting
	var linked, linkedRoute, hard string
	n, stop := strike(t, func(n *struck) {
		linked, linkedRoute = n.target()
		hard, _ = n.target()
		for i, name := range []string{linked, linkedRoute} {
			to := fmt.Sprintf("%s/linked%d", elsewhere, i)
			n.rename(name, to)
			n.must(os.Symlink("/"+to, n.path(name)))
		}
		n.must(os.Link(n.path(hard), n.path(elsewhere+"/hard")))
	})
	for _, name := range []string{linked, linkedRoute} {
		if info, err := os.Lstat(n.path(name)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Fatalf("%s is no longer a link: %v", name, err)
		}
	}
	for _, one := range []struct {
		what, change, repaired string
		isHinted               bool
	}{
		{"hosts.toml behind a link", elsewhere + "/linked0", elsewhere + "/linked0", true},
		{"a route behind a link", elsewhere + "/linked1", elsewhere + "/linked1", false},
		{"another name of hosts.toml", elsewhere + "/hard", hard, false},
	} {
		whole := n.read(one.change)
		if whole == "" {
			t.Fatalf("%s: %s is empty", one.what, one.change)
		}
		n.empty(one.change)
		if !one.isHinted {
			n.pass()
		}
		n.until(one.what, func() bool { return n.read(one.repaired) == whole && n.inSync() })
	}
	stop()
}
