package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
)

// killFor is how long the manager is killed at random.
var killFor = flag.Duration("kill.for", 10*time.Second, "how long TestKillAtRandom kills the manager")

// insides are the tests that run on a played machine.
var insides = map[string]func() error{"kill": killInside}

// What the machine is told, by its environment.
const (
	killProgramsVariable = "MIRRORCRED_KILL_PROGRAMS" // the directory of the programs
	killForVariable      = "MIRRORCRED_KILL_FOR"
	killSeedVariable     = "MIRRORCRED_KILL_SEED" // also to repeat a run
)

// TestKillAtRandom kills the manager with SIGKILL at random times, while its map
// changes and the kubelet restarts, on a machine whose files are the test's own.
// All the while the plugin is asked and containerd's own resolver is: no
// credential is returned without its hosts.toml, none fails while the two stand
// together, and none that the kubelet holds meets a registry that must not see it.
func TestKillAtRandom(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces take root")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/", ".", "../mirror-credential-provider").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Setenv(killProgramsVariable, bin)
	t.Setenv(killForVariable, killFor.String())
	if os.Getenv(killSeedVariable) == "" {
		t.Setenv(killSeedVariable, fmt.Sprint(rand.Uint64()))
	}
	out := machinetest.Machine{Init: "systemd", Hide: []string{"/etc", "/run", "/var/lib", "/var/log"}}.Run(t, "kill")
	var r killed
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s=%s: %+v", killSeedVariable, os.Getenv(killSeedVariable), r.killedCounts)
	for _, fault := range r.Faults {
		t.Error(fault)
	}
	if !r.enough() {
		t.Errorf("too little was seen to prove anything: %+v", r.killedCounts)
	}
}

// killed is what came of it.
type killed struct {
	killedCounts
	Faults []string
}

type killedCounts struct {
	Changes  int // of the map
	Kills    int // of a manager that ran
	Restarts int // of the kubelet
	Answers  int // of the plugin, with a credential
	Drained  int // refusals because a mirror drains
	Turned   int // runs during which hosts.toml became another
	Held     int // credentials that were held for a while
}

// enough reports whether what was seen proves something.
func (c killedCounts) enough() bool {
	return c.Kills >= 10 && c.Answers >= 50 && c.Held >= 10 && c.Changes >= 10 && c.Drained > 0 && c.Turned > 0
}

// A fire is a node whose manager is killed.
type fire struct {
	bin     string
	ctx     context.Context // ends with the shooting
	sources []string

	mu     sync.Mutex // guards what follows
	killed killed
	// epoch counts the kubelets, and alive says that the last one runs.
	epoch int
	alive bool
	// history is which registries containerd was seen to ask for a source, and
	// until when.
	history map[string][]seenHosts

	kubelet *exec.Cmd
	targets map[string]string // of the map now, by source; see mapText
}

type seenHosts struct {
	id    string
	list  []string
	until time.Time
}

const (
	fireMap    = "/etc/mirrorcred/mirrors.toml"
	fireTree   = "/etc/containerd/certs.d"
	fireBin    = "/var/lib/kubelet/credential-provider"
	fireConfig = "/var/lib/kubelet/credential-provider-config.yaml"
)

func killInside() error {
	lasts, err := time.ParseDuration(os.Getenv(killForVariable))
	if err != nil {
		return err
	}
	var seed uint64
	if _, err := fmt.Sscan(os.Getenv(killSeedVariable), &seed); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts+time.Minute)
	defer cancel()
	f := &fire{
		bin: os.Getenv(killProgramsVariable), ctx: ctx, history: map[string][]seenHosts{}, targets: map[string]string{},
		sources: []string{"a.example", "b.example", "c.example:5000", "d.example"},
	}
	if err := f.setUp(); err != nil {
		return err
	}
	var wait sync.WaitGroup
	for i, do := range []func(*rand.Rand){f.edit, f.restart, f.shoot, f.watchTree, f.ask, f.ask, f.hold, f.hold} {
		wait.Go(func() {
			for r := rand.New(rand.NewPCG(seed, uint64(i))); ctx.Err() == nil; {
				do(r)
			}
		})
	}
	// If the machine is slow, it goes on until it has seen enough.
	for time.Sleep(lasts); ctx.Err() == nil && !f.counts().enough(); time.Sleep(100 * time.Millisecond) {
	}
	cancel()
	wait.Wait()
	f.finish()
	if len(f.killed.Faults) > 20 {
		f.killed.Faults = f.killed.Faults[:20]
	}
	return json.NewEncoder(os.Stdout).Encode(f.killed)
}

func (f *fire) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed.Faults = append(f.killed.Faults, fmt.Sprintf(format, args...))
}

func (f *fire) count(n *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

func (f *fire) counts() killedCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.killed.killedCounts
}

// pause waits for some time between two, or for the end.
func (f *fire) pause(r *rand.Rand, least, most time.Duration) {
	select {
	case <-f.ctx.Done():
	case <-time.After(between(r, least, most)):
	}
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// finish lets the manager end its work, and holds that the node is as the map
// says and nothing is left of the runs that were killed.
func (f *fire) finish() {
	var out []byte
	for range 6 {
		_ = f.kubelet.Process.Kill()
		_ = f.kubelet.Wait()
		if err := f.startKubelet(); err != nil {
			f.fault("start the kubelet: %v", err)
		}
		out, _ = exec.Command(filepath.Join(f.bin, "mirrorcred"), "apply").CombinedOutput()
		if strings.Contains(string(out), "\nin sync") || strings.HasPrefix(string(out), "in sync") {
			break
		}
	}
	if !strings.Contains(string(out), "in sync") {
		f.fault("at the end the node does not get in sync:\n%s", out)
	}
	for _, s := range f.sources {
		want := f.targets[s]
		if want == "" {
			want = f.targets["*"]
		}
		if want == "" {
			want = s
		}
		if id, list := f.observe(s); strings.Join(list, "+") != want {
			f.fault("at the end containerd asks %q for %s by %s; want %s", list, s, id, want)
		}
		of, why := f.plugin(s)
		if hasCredential(strings.Split(want, "+")[0]) != (len(of) > 0) {
			f.fault("at the end the plugin answers %q for %s, which is served by %s: %s", of, s, want, why)
		}
	}
	for _, dir := range []string{"/etc", "/var/lib"} {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(filepath.Base(path), ".mirrorcred-") {
				f.fault("at the end %s is left", path)
			}
			return nil
		})
	}
}
