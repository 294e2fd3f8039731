package node

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// recalling returns a node that is in sync and remembers what it read, a node below the
// same root that reads everything, and what they take for the machine.
func recalling(t *testing.T) (remembers, reads *Node, host *fake) {
	t.Helper()
	var text strings.Builder
	text.WriteString("version = 1\n")
	for i := range leastRecalled + 50 {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [\"contoso.azurecr.io/r%d\"]\n", i, i)
	}
	remembers, host = newNode(t, text.String())
	inAnHour := time.Now().Add(time.Hour) // when all times of files are old
	host.clock = func() time.Time { return inAnHour }
	reads = &Node{Root: remembers.Root, Map: remembers.Map, host: host}
	remembers.Remember = time.Minute
	apply(t, remembers)
	if changes := planOf(t, remembers).Changes; len(changes) > 0 {
		t.Fatalf("after the first run there are %d changes", len(changes))
	}
	return remembers, reads, host
}

func planOf(t *testing.T, n *Node) plan.Plan {
	t.Helper()
	p, err := n.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// remembered returns what a node remembers of hosts_dir.
func remembered(t *testing.T, n *Node) *recall {
	t.Helper()
	one := n.recalls.byDir[n.path("/etc/containerd/certs.d")]
	if one == nil {
		t.Fatal("nothing is remembered")
	}
	return one
}

// tick waits until a file that is written gets a new time.
func tick(t *testing.T) {
	t.Helper()
	probe := filepath.Join(t.TempDir(), "probe")
	changed := func() unix.Timespec {
		var st unix.Stat_t
		write(t, probe, "")
		if err := unix.Stat(probe, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ctim
	}
	for first := changed(); changed() == first; {
	}
}

// inPlace changes a file without a new file, and with the same length.
func inPlace(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(data, []byte("contoso"), []byte("fabrikm")), 0o644)
}

// strikes are what another program may do to a file.
var strikes = map[string]func(path string) error{
	"edit in place": inPlace,
	"edit in place, and set the time back": func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, inPlace(path), os.Chtimes(path, info.ModTime(), info.ModTime()))
	},
	"rename another file into place, with the same length and time": func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		data = bytes.ReplaceAll(data, []byte("contoso"), []byte("fabrikm"))
		return errors.Join(err, os.WriteFile(path+".new", data, info.Mode()),
			os.Chtimes(path+".new", info.ModTime(), info.ModTime()), os.Rename(path+".new", path))
	},
	"cut short": func(path string) error { return os.Truncate(path, 40) },
	"remove":    os.Remove,
	"lengthen": func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, append(data, "# more\n"...), 0o644))
	},
	"put a link to another file there": func(path string) error {
		return errors.Join(os.Rename(path, path+".moved"), inPlace(path+".moved"), os.Symlink(path+".moved", path))
	},
	"put a FIFO there":      func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o644)) },
	"put a directory there": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
	"remove the directory":  func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	"put a link to a changed directory there": func(path string) error {
		dir := filepath.Dir(path)
		elsewhere := filepath.Join(filepath.Dir(filepath.Dir(dir)), "elsewhere-"+filepath.Base(dir))
		return errors.Join(inPlace(path), os.Rename(dir, elsewhere), os.Symlink(elsewhere, dir))
	},
}

// A node that remembers makes the same plans as one that reads everything, whatever
// another program does to the files.
func TestRecallSeesEachChange(t *testing.T) {
	n, full, _ := recalling(t)
	known := remembered(t, n)
	number := 0
	for what, strike := range strikes {
		for _, of := range []string{"/etc/containerd/certs.d/r%d.example/hosts.toml", plan.RoutesDir + "/r%d.example.json"} {
			if strings.Contains(what, "directory") && strings.HasSuffix(of, "json") {
				continue // the routes are all in one, and each is a file
			}
			number += 5
			path := n.path(fmt.Sprintf(of, number))
			tick(t)
			before := len(planOf(t, n).Changes) + len(planOf(t, n).Conflicts)
			if err := strike(path); err != nil {
				t.Fatalf("%s: %s: %v", what, path, err)
			}
			got, want := planOf(t, n), planOf(t, full)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: the plan from memory has %d changes, %v; the full one %d, %v", what, path, len(got.Changes), got.Conflicts, len(want.Changes), want.Conflicts)
			}
			if len(want.Changes)+len(want.Conflicts)+len(want.Leftovers) == before {
				t.Errorf("%s: %s: the full plan is as before", what, path)
			}
		}
	}
	if remembered(t, n) != known || len(known.files) < leastRecalled-len(strikes) {
		t.Errorf("%d files are remembered", len(known.files))
	}
}

// A plan from memory is the same as a full one after each of many runs of both, as the
// map and the files change at random.
func TestRecallPlansTheSame(t *testing.T) {
	n, full, _ := recalling(t)
	data, err := os.ReadFile(n.Map)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for step := range 12 {
		tick(t)
		number := random.IntN(leastRecalled)
		switch random.IntN(3) {
		case 0:
			from := fmt.Sprintf(".azurecr.io/r%d\"", number)
			data = bytes.Replace(data, []byte(from), fmt.Appendf(nil, ".azurecr.io/s%d\"", step), 1)
			write(t, n.Map, string(data))
		case 1:
			err = inPlace(n.path(fmt.Sprintf("/etc/containerd/certs.d/r%d.example/hosts.toml", number)))
		default:
			err = os.RemoveAll(n.path(fmt.Sprintf("/etc/containerd/certs.d/r%d.example", number)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := planOf(t, n), planOf(t, full); !reflect.DeepEqual(got, want) {
			t.Fatalf("with seed %d, at step %d the plan from memory has %d changes, %v; the full one %d, %v", seed, step, len(got.Changes), got.Conflicts, len(want.Changes), want.Conflicts)
		}
		apply(t, n)
	}
}

// A file that was written a moment ago is read again: with a coarse clock it can change
// once more and keep its time.
func TestRecallWaitsUntilAFileIsOld(t *testing.T) {
	n, _, host := recalling(t)
	n.recalls.forget()
	host.clock = time.Now
	planOf(t, n)
	if known := remembered(t, n); len(known.files) > 0 {
		t.Errorf("%d files of a moment ago are remembered", len(known.files))
	}
}

// What is remembered counts for a while, and only as long as the clock was not set.
func TestRecallEnds(t *testing.T) {
	for what, happen := range map[string]func(*Node, *fake){
		"time":   func(_ *Node, host *fake) { host.after(time.Minute); ahead(host, time.Minute) },
		"clock":  func(_ *Node, host *fake) { ahead(host, -time.Hour) },
		"reboot": func(_ *Node, host *fake) { host.reboot() },
		"off":    func(n *Node, _ *fake) { n.Remember = 0 },
	} {
		t.Run(what, func(t *testing.T) {
			n, _, host := recalling(t)
			forge(t, n)
			if len(planOf(t, n).Changes) == 0 {
				t.Fatal("what is remembered does not count")
			}
			happen(n, host)
			if changes := planOf(t, n).Changes; len(changes) > 0 {
				t.Errorf("what was remembered still counts: %d changes", len(changes))
			}
		})
	}
}

func ahead(host *fake, d time.Duration) {
	was := host.clock()
	host.clock = func() time.Time { return was.Add(d) }
}

// forge has a node remember for one mirror what is another's hosts.toml.
func forge(t *testing.T, n *Node) {
	t.Helper()
	known := remembered(t, n)
	one, other := known.files["r1.example/"+hosts.FileName], known.files["r2.example/"+hosts.FileName]
	if one == nil || other == nil {
		t.Fatal("the two files are not remembered")
	}
	one.data = other.data
}

// No file is replaced for what is only remembered: the run ends with an error, and the
// next one reads everything.
func TestRecallIsCheckedBeforeAWrite(t *testing.T) {
	n, _, _ := recalling(t)
	forge(t, n)
	var changed *ChangedError
	if _, err := n.Apply(t.Context()); !errors.As(err, &changed) {
		t.Errorf("Apply: %v; want that the file is not as it was seen", err)
	}
	if changes := apply(t, n).Changes; len(changes) > 0 {
		t.Errorf("the next run makes %d changes", len(changes))
	}
}

// What is remembered has a bound: another program makes and removes directories for ever,
// and the map's hosts_dir changes.
func TestRecallForgetsWhatIsGone(t *testing.T) {
	n, _, host := recalling(t)
	dir := n.path("/etc/containerd/certs.d")
	before := len(remembered(t, n).files)
	for i := range 5 {
		other := filepath.Join(dir, fmt.Sprintf("other%d.example", i))
		if err := os.Mkdir(other, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(other, hosts.FileName), "server = \"https://other.example\"\n")
		planOf(t, n)
		if files := len(remembered(t, n).files); files != before+1 {
			t.Fatalf("%d files are remembered; want %d, and the new one", files, before)
		}
		if err := os.RemoveAll(other); err != nil {
			t.Fatal(err)
		}
		planOf(t, n)
	}
	if files := len(remembered(t, n).files); files != before {
		t.Errorf("%d files are remembered; want %d", files, before)
	}
	n.recalls.byDir["/gone"] = n.recalls.byDir[dir]
	delete(n.recalls.byDir, dir)
	host.after(2 * time.Minute)
	ahead(host, 2*time.Minute)
	planOf(t, n)
	if n.recalls.byDir["/gone"] != nil {
		t.Error("a directory that is no longer read is remembered")
	}
}

// TestRecallOfAFewFiles takes the memory of a directory that has only a few files left.
func TestRecallOfAFewFiles(t *testing.T) {
	n, full, _ := recalling(t)
	reports := &reported{covers: func(string) bool { return true }}
	n.Changes = reports
	planOf(t, n)
	entries, err := os.ReadDir(n.path("/etc/containerd/certs.d"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[10:] {
		path := n.path("/etc/containerd/certs.d", e.Name())
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		reports.paths = append(reports.paths, path)
	}
	if !reflect.DeepEqual(planOf(t, n), planOf(t, full)) {
		t.Error("the plan is not the full one")
	}
	if one := n.recalls.byDir[n.path("/etc/containerd/certs.d")]; one != nil {
		t.Errorf("%d files and %d namespaces are remembered of a directory with 10", len(one.files), len(one.namespaces))
	}
}
