package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
)

// The registries: those below corp have a credential of their own, open.example
// must see none, and shared.example only those of its list.
var fireTargets = []string{"", "one.corp", "two.corp", "three.corp", "one.corp+shared.example", "two.corp+shared.example", "open.example"}

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
