package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	resolver "github.com/containerd/containerd/v2/core/remotes/docker/config"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// observe returns which registries containerd asks for a source now, and an id of
// the file that says so.
func (f *fire) observe(source string) (id string, list []string) {
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
		id, list := f.observe(s)
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
	id, list := f.observe(source)
	drains := withdrawn(source)
	of, why := f.plugin(source)
	drains = withdrawn(source) || drains
	after, listAfter := f.observe(source)
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
		id, list := f.observe(source)
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
