package node

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A reported is what a watcher of directories says.
type reported struct {
	paths  []string
	isLost bool // others may have changed too
	covers func(dir string) bool
}

func (r *reported) Take() (paths []string, all bool) {
	taken := *r
	r.paths, r.isLost = nil, false
	return taken.paths, !taken.isLost
}

func (r *reported) Covers(dir string) bool { return r.covers(dir) }

// While each change in a directory is reported, a file in it is not looked at; once a change
// is reported, it is, and so it is elsewhere.
func TestRecallTrustsReports(t *testing.T) {
	const ours, route = "/etc/containerd/certs.d/r1.example/hosts.toml", plan.RoutesDir + "/r1.example.json"
	everywhere := func(string) bool { return true }
	for what, one := range map[string]struct {
		file   string
		covers func(dir string) bool
		paths  []string // reported
		isLost bool
		isSeen bool
	}{
		"nothing reported":        {file: ours, covers: everywhere},
		"nothing reported, route": {file: route, covers: everywhere},
		"another":                 {file: ours, covers: everywhere, paths: []string{"/etc/containerd/certs.d/r2.example", "/etc/containerd/certs", "/var"}},
		"the file":                {file: ours, covers: everywhere, paths: []string{ours}, isSeen: true},
		"the route":               {file: route, covers: everywhere, paths: []string{route}, isSeen: true},
		"its directory":           {file: ours, covers: everywhere, paths: []string{"/etc/containerd/certs.d/r1.example"}, isSeen: true},
		"hosts_dir":               {file: ours, covers: everywhere, paths: []string{"/etc/containerd/certs.d"}, isSeen: true},
		"above hosts_dir":         {file: ours, covers: everywhere, paths: []string{"/etc"}, isSeen: true},
		"above the routes":        {file: route, covers: everywhere, paths: []string{"/var/lib"}, isSeen: true},
		"lost":                    {file: ours, covers: everywhere, isLost: true, isSeen: true},
		"not watched":             {file: ours, covers: func(string) bool { return false }, isSeen: true},
		"only hosts_dir watched":  {file: ours, covers: func(dir string) bool { return !strings.HasSuffix(dir, "r1.example") }, isSeen: true},
	} {
		t.Run(what, func(t *testing.T) {
			n, full, _ := recalling(t)
			reports := &reported{covers: one.covers}
			n.Changes = reports
			planOf(t, n) // looks at each file
			if err := inPlace(n.path(one.file)); err != nil {
				t.Fatal(err)
			}
			for _, path := range one.paths {
				reports.paths = append(reports.paths, n.path(path))
			}
			reports.isLost = one.isLost
			if want := planOf(t, full); one.isSeen && !reflect.DeepEqual(planOf(t, n), want) {
				t.Error("the plan is not the full one")
			} else if !one.isSeen && reflect.DeepEqual(planOf(t, n), want) {
				t.Error("a file is looked at that nothing was reported of")
			}
			if changes := len(planOf(t, n).Changes) + len(planOf(t, n).Conflicts); one.isSeen && changes == 0 {
				t.Error("the change is seen once, and then taken for undone")
			}
		})
	}
}

// A file that was written a moment ago is remembered anyway if each change of it is
// reported, and only until one is.
func TestRecallOfYoungFiles(t *testing.T) {
	const ours, route = "/etc/containerd/certs.d/r1.example/hosts.toml", plan.RoutesDir + "/r1.example.json"
	dirs := map[string]string{ours: "/etc/containerd/certs.d", route: plan.RoutesDir}
	names := map[string]string{ours: "r1.example/" + hosts.FileName, route: "r1.example.json"}
	for _, file := range []string{ours, route} {
		n, full, host := recalling(t)
		n.recalls.forget()
		host.clock = time.Now
		reports := &reported{covers: func(string) bool { return true }}
		n.Changes = reports
		planOf(t, n)
		known := n.recalls.byDir[n.path(dirs[file])]
		was := known.files[names[file]]
		if was == nil {
			t.Fatalf("%s is not remembered", file)
		}
		if planOf(t, n); known.files[names[file]] != was {
			t.Errorf("%s is read again without a report", file)
		}
		// As if within the same tick of the clock: the time of what is remembered is the
		// new one.
		if err := inPlace(n.path(file)); err != nil {
			t.Fatal(err)
		}
		in, err := n.tree.OpenDir(n.path(dirs[file]))
		if err != nil {
			t.Fatal(err)
		}
		_, was.info, err = in.ReadFile(names[file], 0, nil)
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		reports.paths = []string{n.path(file)}
		if want := planOf(t, full); len(want.Changes)+len(want.Conflicts) == 0 || !reflect.DeepEqual(planOf(t, n), want) {
			t.Errorf("%s: a change within the same tick is not seen", file)
		}
	}
}

// What a run changes itself is looked at again, although its event has not come yet.
func TestRecallOfOwnChanges(t *testing.T) {
	n, full, _ := recalling(t)
	n.Changes = &reported{covers: func(string) bool { return true }}
	planOf(t, n)
	data, err := os.ReadFile(n.Map)
	if err != nil {
		t.Fatal(err)
	}
	write(t, n.Map, strings.Replace(string(data), ".azurecr.io/r1\"", ".azurecr.io/other\"", 1))
	if changes := apply(t, n).Changes; len(changes) == 0 {
		t.Fatal("a new target changes nothing")
	}
	if got, want := planOf(t, n), planOf(t, full); !reflect.DeepEqual(got, want) {
		t.Errorf("after a run there are %d changes in the plan from memory; %d in the full one", len(got.Changes), len(want.Changes))
	}
}

// A file that is a link, or has another name, can change without a report of its directory,
// so it is looked at in each pass.
func TestRecallLooksAtLinks(t *testing.T) {
	const ours, route = "/etc/containerd/certs.d/r1.example/hosts.toml", plan.RoutesDir + "/r1.example.json"
	for what, move := range map[string]func(path, other string) error{
		"a link":       func(path, other string) error { return errors.Join(os.Rename(path, other), os.Symlink(other, path)) },
		"another name": os.Link,
	} {
		for i, file := range []string{ours, route, ours, route} {
			n, full, host := recalling(t)
			if i > 1 { // the files are young
				n.recalls.forget()
				host.clock = time.Now
			}
			other := filepath.Join(n.Root, "other")
			if err := move(n.path(file), other); err != nil {
				t.Fatal(err)
			}
			n.Changes = &reported{covers: func(string) bool { return true }}
			planOf(t, n)
			planOf(t, n)
			tick(t)
			if err := inPlace(other); err != nil {
				t.Fatal(err)
			}
			if want := planOf(t, full); len(want.Changes)+len(want.Conflicts) == 0 || !reflect.DeepEqual(planOf(t, n), want) {
				t.Errorf("%s: %s: the change is not seen", what, file)
			}
		}
	}
}

// After another mirrorcred had the lock, all files are looked at: the events of what it
// wrote may still come.
func TestRecallAfterTheLock(t *testing.T) {
	n, _, _ := recalling(t)
	n.Changes = &reported{covers: func(string) bool { return true }}
	planOf(t, n)
	other := &Node{Root: n.Root, Map: n.Map, host: n.host}
	unlock, err := other.lock(t.Context(), func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	err = inPlace(n.path("/etc/containerd/certs.d/r1.example/hosts.toml"))
	waits := make(chan struct{})
	n.OnWait = func(string) { close(waits) }
	go func() {
		<-waits
		unlock()
	}()
	if conflicts := apply(t, n).Conflicts; err != nil || len(conflicts) != 1 {
		t.Errorf("the conflicts are %v, %v; want one for what was changed meanwhile", conflicts, err)
	}
}

// Files that are trusted are read anew in time, but not all in the same pass.
func TestRecallReadsAnew(t *testing.T) {
	n, _, host := recalling(t)
	n.Changes = &reported{covers: func(string) bool { return true }}
	planOf(t, n)
	forge(t, n)
	known := remembered(t, n)
	before := maps.Clone(known.files)
	host.after(45 * time.Second)
	ahead(host, 45*time.Second)
	planOf(t, n)
	anew := 0
	for name, f := range remembered(t, n).files {
		if f != before[name] {
			anew++
		}
	}
	if anew == 0 || anew == len(before) {
		t.Errorf("%d of %d files are read anew after three quarters of the time", anew, len(before))
	}
	host.after(15 * time.Second)
	ahead(host, 15*time.Second)
	if changes := planOf(t, n).Changes; len(changes) > 0 {
		t.Errorf("after the whole time, what was remembered still counts: %d changes", len(changes))
	}
}

// The entries of a watched directory are those that were read, until a change of one is
// reported; and so is what is in a namespace.
func TestRecallOfEntries(t *testing.T) {
	const dir, routes = "/etc/containerd/certs.d/", plan.RoutesDir + "/"
	for what, one := range map[string]struct {
		strike func(n *Node) error
		paths  []string // reported
	}{
		"one of mirrorcred's, of another source": {func(n *Node) error {
			return errors.Join(os.Mkdir(n.path(dir+"a.example"), 0o755), copyFile(n.path(dir+"r1.example/hosts.toml"), n.path(dir+"a.example/hosts.toml")))
		}, []string{dir + "a.example", dir + "a.example/hosts.toml"}},
		"a removed directory": {func(n *Node) error { return os.RemoveAll(n.path(dir + "r1.example")) }, []string{dir + "r1.example"}},
		"a renamed directory": {func(n *Node) error { return os.Rename(n.path(dir+"r1.example"), n.path(dir+"z.example")) }, []string{dir + "r1.example", dir + "z.example"}},
		"a link instead": {func(n *Node) error {
			return errors.Join(os.Rename(n.path(dir+"r1.example"), n.path("/elsewhere")), os.Symlink(n.path("/elsewhere"), n.path(dir+"r1.example")))
		}, []string{dir + "r1.example"}},
		"a file instead": {func(n *Node) error {
			return errors.Join(os.RemoveAll(n.path(dir+"r1.example")), os.WriteFile(n.path(dir+"r1.example"), nil, 0o644))
		}, []string{dir + "r1.example"}},
		"a stray route":   {func(n *Node) error { return os.WriteFile(n.path(routes+"new.example.json"), []byte("{}"), 0o644) }, []string{routes + "new.example.json"}},
		"a removed route": {func(n *Node) error { return os.Remove(n.path(routes + "r1.example.json")) }, []string{routes + "r1.example.json"}},
		"what a killed run left": {func(n *Node) error {
			return copyFile(n.path(routes+"r1.example.json"), n.path(routes+temporary+"1"))
		}, []string{routes + temporary + "1"}},
	} {
		t.Run(what, func(t *testing.T) {
			n, full, _ := recalling(t)
			reports := &reported{covers: func(string) bool { return true }}
			n.Changes = reports
			for range 3 {
				planOf(t, n)
			}
			before := planOf(t, n)
			if err := one.strike(n); err != nil {
				t.Fatal(err)
			}
			want := planOf(t, full)
			if reflect.DeepEqual(want, before) {
				t.Fatal("the full plan is the same as before")
			}
			if !reflect.DeepEqual(planOf(t, n), before) {
				t.Error("a change is seen that was not reported, so nothing is remembered")
			}
			for _, path := range one.paths {
				reports.paths = append(reports.paths, n.path(path))
			}
			for range 2 {
				if got := planOf(t, n); !reflect.DeepEqual(got, want) {
					t.Errorf("the plan is not the full one: %d changes, %d leftovers; want %d and %d", len(got.Changes), len(got.Leftovers), len(want.Changes), len(want.Leftovers))
				}
			}
		})
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, data, 0o644))
}
