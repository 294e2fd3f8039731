package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	resolver "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
	"github.com/mirrorcred/mirrorcred/hosts"
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

// The registries: those below corp have a credential of their own, open.example
// must see none, and shared.example only those of its list.
var fireTargets = []string{"", "one.corp", "two.corp", "three.corp", "one.corp+shared.example", "two.corp+shared.example", "open.example"}

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
	// Where the machine is slow it goes on until it has seen enough.
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

// onDisk has the node's files on a disk, on which a sync takes its time: in memory
// a kill would seldom come between two steps.
func (f *fire) onDisk() error {
	for _, dir := range []string{"/etc", "/var/lib"} {
		from := filepath.Join(f.bin, "disk", dir)
		if err := os.MkdirAll(from, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(from, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	return nil
}

func (f *fire) setUp() error {
	if err := f.onDisk(); err != nil {
		return err
	}
	auths := []string{}
	for _, t := range fireTargets[1:4] {
		auths = append(auths, fmt.Sprintf("%q: {\"auth\": %q}", t, base64.StdEncoding.EncodeToString([]byte("u:password-of-"+t))))
	}
	for name, text := range map[string]string{
		containerdConfig:              readsTree,
		"/etc/mirrorcred/docker.json": `{"auths": {` + strings.Join(auths, ", ") + `}}`,
		fireBin + "/.":                "",
		"/run/containerd/.":           "",
		"/run/programs/.":             "",
	} {
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && text != "" {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond)
	return errors.Join(
		os.Symlink(filepath.Join(f.bin, "mirror-credential-provider"), filepath.Join(fireBin, "mirror-credential-provider")),
		os.Symlink(self, "/run/programs/kubelet"),
		containerdtest.Command("/run/containerd/containerd.sock", "v2.4.2", fireTree).Start(),
		f.startKubelet(),
		os.WriteFile(fireMap, []byte(f.mapText()), 0o644),
	)
}

// mapText returns the map of the targets.
func (f *fire) mapText() string {
	b := &strings.Builder{}
	b.WriteString("version = 1\n[kubelet]\nversion = \"1.34\"\nrunning = false\n")
	for _, s := range append(slices.Clone(f.sources), "*") {
		target := f.targets[s]
		if target == "" {
			continue
		}
		fmt.Fprintf(b, "[[mirror]]\nsource = %q\ntargets = [%s]\n", s, `"`+strings.ReplaceAll(target, "+", `", "`)+`"`)
		if strings.Contains(target, "+") {
			b.WriteString("share_credential = true\n")
		}
	}
	for _, t := range fireTargets[1:4] {
		fmt.Fprintf(b, "[registry.%q]\ncredential = \"docker\"\n", t)
	}
	b.WriteString("[credential.docker]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/docker.json\"\n")
	return b.String()
}

// edit changes the map, by a rename or, like an editor that is in no hurry, in
// its place.
func (f *fire) edit(r *rand.Rand) {
	for range 1 + r.IntN(2) {
		s := append(slices.Clone(f.sources), "*")[r.IntN(len(f.sources)+1)]
		f.targets[s] = fireTargets[r.IntN(len(fireTargets))]
	}
	text := []byte(f.mapText())
	if r.IntN(5) == 0 {
		file, err := os.OpenFile(fireMap, os.O_WRONLY|os.O_TRUNC, 0)
		if err == nil {
			half := r.IntN(len(text))
			_, _ = file.Write(text[:half])
			f.pause(r, 0, 30*time.Millisecond)
			_, _ = file.Write(text[half:])
			file.Close()
		}
	} else {
		_ = os.WriteFile(fireMap+".new", text, 0o644)
		if r.IntN(2) == 0 { // a removal is believed at once if the map is old
			_ = os.Chtimes(fireMap+".new", time.Now().Add(-time.Hour), time.Now().Add(-time.Hour))
		}
		_ = os.Rename(fireMap+".new", fireMap)
	}
	f.count(&f.killed.Changes)
	if r.IntN(12) == 0 {
		f.pause(r, 2500*time.Millisecond, 3*time.Second)
	} else {
		f.pause(r, 20*time.Millisecond, 300*time.Millisecond)
	}
}

func (f *fire) startKubelet() error {
	f.kubelet = exec.Command("/run/programs/kubelet", "--image-credential-provider-config="+fireConfig, "--image-credential-provider-bin-dir="+fireBin)
	f.kubelet.Env = append(os.Environ(), idleVariable+"=1")
	if err := f.kubelet.Start(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = true
	return nil
}

// restart restarts the kubelet: what it held is gone.
func (f *fire) restart(r *rand.Rand) {
	f.pause(r, 300*time.Millisecond, 1500*time.Millisecond)
	f.mu.Lock()
	f.alive = false
	f.epoch++
	f.killed.Restarts++
	f.mu.Unlock()
	_ = f.kubelet.Process.Kill()
	_ = f.kubelet.Wait()
	if r.IntN(2) == 0 {
		f.pause(r, 0, 100*time.Millisecond)
	}
	if err := f.startKubelet(); err != nil {
		f.fault("start the kubelet: %v", err)
	}
}

// shoot starts the manager and kills it.
func (f *fire) shoot(r *rand.Rand) {
	args, most := []string{"watch", "--tick=1s"}, 500*time.Millisecond
	switch r.IntN(10) {
	case 0, 1, 2:
		args, most = []string{"apply"}, 200*time.Millisecond
	case 3:
		most = 4 * time.Second
	}
	cmd := exec.Command(filepath.Join(f.bin, "mirrorcred"), args...)
	if err := cmd.Start(); err != nil {
		f.fault("start the manager: %v", err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return
	case <-f.ctx.Done():
	case <-time.After(between(r, 0, most)):
	}
	if cmd.Process.Kill() == nil {
		f.count(&f.killed.Kills)
	}
	<-ended
}

// look returns which registries containerd asks for a source now, and an id of
// the file that says so.
func (f *fire) look(source string) (id string, list []string) {
	for {
		before := identify(source)
		list, err := resolve(source)
		if after := identify(source); before == after {
			if err != nil {
				f.fault("containerd refuses %s: %v", before, err)
			}
			return before, list
		}
	}
}

// identify names the hosts.toml that is in force for a source.
func identify(source string) string {
	for _, name := range hosts.Candidates(source) {
		dir := filepath.Join(fireTree, name)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, hosts.FileName))
		if err != nil {
			return name + " without a file"
		}
		st := info.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%s/%s (inode %d, changed %d)", name, hosts.FileName, st.Ino, st.Ctim.Nano())
	}
	return "none"
}

// resolve has containerd's own resolver say which registries it would ask.
func resolve(source string) ([]string, error) {
	registries, err := resolver.ConfigureHosts(context.Background(), resolver.HostOptions{HostDir: resolver.HostDirFromRoot(fireTree)})(source)
	var list []string
	for _, r := range registries {
		list = append(list, r.Host)
	}
	return list, err
}

// watchTree keeps the history, finer than the manager can change it.
func (f *fire) watchTree(r *rand.Rand) {
	for _, s := range f.sources {
		f.mu.Lock()
		seen := f.history[s]
		f.mu.Unlock()
		now := time.Now()
		if len(seen) > 0 && seen[len(seen)-1].id == identify(s) {
			f.mu.Lock()
			seen[len(seen)-1].until = now
			f.mu.Unlock()
			continue
		}
		id, list := f.look(s)
		f.mu.Lock()
		f.history[s] = append(seen, seenHosts{id, list, time.Now()})
		f.mu.Unlock()
	}
	f.pause(r, time.Millisecond, 2*time.Millisecond)
}

// since returns the registries that containerd was seen to ask for a source since
// a moment.
func (f *fire) since(source string, began time.Time) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, h := range f.history[source] {
		if h.until.After(began) {
			all = append(all, h.list...)
		}
	}
	return all
}

var firePassword = regexp.MustCompile(`"password":"password-of-([^"]*)"`)

// plugin asks the plugin for a source: for which registries it answers a
// credential, or why it answers none.
func (f *fire) plugin(source string) (of []string, why string) {
	cmd := exec.Command(filepath.Join(fireBin, "mirror-credential-provider"), "--registry-mirror=@"+routes, "--token-cache=", "--audit-log=")
	cmd.Stdin = strings.NewReader(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"` + source + `/app"}`)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		why = fmt.Sprintf("%v: %s", err, errs.String())
	}
	for _, found := range firePassword.FindAllStringSubmatch(out.String(), -1) {
		of = append(of, found[1])
	}
	return of, why
}

// withdrawn reports whether the route of a source, or of "*", is withdrawn.
func withdrawn(source string) bool {
	for _, name := range []string{hosts.Candidates(source)[0], hosts.Default} {
		data, _ := os.ReadFile(filepath.Join(routes, name+".json"))
		if strings.Contains(string(data), `"withdrawn":"`) {
			return true
		}
	}
	return false
}

func hasCredential(registry string) bool { return strings.HasSuffix(registry, ".corp") }

// ask holds the plugin's answer against what containerd reads.
func (f *fire) ask(r *rand.Rand) {
	source := f.sources[r.IntN(len(f.sources))]
	began := time.Now()
	id, list := f.look(source)
	drains := withdrawn(source)
	of, why := f.plugin(source)
	drains = withdrawn(source) || drains
	after, listAfter := f.look(source)
	if id != after {
		f.count(&f.killed.Turned)
		f.pause(r, 3*time.Millisecond, 10*time.Millisecond) // for the history
		list = slices.Concat(list, listAfter, f.since(source, began))
	}
	for _, registry := range of {
		if !slices.Contains(list, registry) {
			f.fault("LEAK: %s: the password of %s is answered, and containerd asks %q by %s, then %s", source, registry, list, id, after)
		}
	}
	switch missing := slices.DeleteFunc(slices.Clone(list), func(registry string) bool { return !hasCredential(registry) || slices.Contains(of, registry) }); {
	case len(of) > 0:
		f.count(&f.killed.Answers)
	case drains && strings.Contains(why, "is being drained"):
		f.count(&f.killed.Drained)
	case id == after && len(missing) > 0:
		f.fault("GAP: %s: containerd asks %q by %s, and the plugin returns no credentials: %s\n%s", source, list, id, why, f.state(source))
	}
	f.pause(r, time.Millisecond, 20*time.Millisecond)
}

// state returns what decides about a source, as it is a moment after a fault.
func (f *fire) state(source string) string {
	var b strings.Builder
	show := func(path string, text []byte, err error) {
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "--- %s\n%s\n", path, text)
	}
	for _, name := range []string{hosts.Candidates(source)[0], hosts.Default} {
		data, err := os.ReadFile(filepath.Join(fireTree, name, hosts.FileName))
		show(filepath.Join(fireTree, name), fmt.Appendf(data, "(its hash is %s)", hosts.Hash(data)), err)
	}
	for _, path := range []string{
		filepath.Join(routes, hosts.Candidates(source)[0]+".json"), filepath.Join(routes, hosts.Default+".json"),
		filepath.Join(filepath.Dir(routes), armed.FileName), armed.Marker, fireMap, fireConfig,
	} {
		data, err := os.ReadFile(path)
		show(path, data, err)
	}
	return b.String()
}

// hold is a pull that is slow: the kubelet was given a credential and containerd
// looks later where to go. The kubelet may restart meanwhile, and then there is no
// pull.
func (f *fire) hold(r *rand.Rand) {
	f.mu.Lock()
	epoch, alive := f.epoch, f.alive
	f.mu.Unlock()
	source := f.sources[r.IntN(len(f.sources))]
	if !alive {
		f.pause(r, time.Millisecond, 10*time.Millisecond)
		return
	}
	of, _ := f.plugin(source)
	for range 1 + r.IntN(5) {
		if len(of) == 0 {
			break
		}
		f.pause(r, 0, 200*time.Millisecond)
		id, list := f.look(source)
		f.mu.Lock()
		stands := f.alive && f.epoch == epoch
		if stands {
			f.killed.Held++
		}
		f.mu.Unlock()
		for _, registry := range list {
			if stands && !hasCredential(registry) && registry != "shared.example" {
				f.fault("LEAK: %s: a pull that has the password of %q begins, and containerd asks %s by %s", source, of, registry, id)
			}
		}
	}
	f.pause(r, time.Millisecond, 20*time.Millisecond)
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
		if strings.Contains(string(out), "\nin step") || strings.HasPrefix(string(out), "in sync") {
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
		if id, list := f.look(s); strings.Join(list, "+") != want {
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
