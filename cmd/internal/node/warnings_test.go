package node

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// warned returns the names and places of a plan's warnings, those about the
// machine of the test left out.
func warned(p plan.Plan, name string) []string {
	list := []string{}
	for _, w := range p.Warnings {
		if w.Name == name {
			list = append(list, w.Where)
		}
	}
	return list
}

// TestNodeDockerConfigPlaces puts a docker configuration where kubelets of
// different kinds look, one place at a time.
func TestNodeDockerConfigPlaces(t *testing.T) {
	const auths = `{"auths": {"mcr.microsoft.com": {"auth": "dTpw"}}}`
	places := []string{
		"/var/lib/kubelet/config.json", "/data/kubelet/config.json", "/srv/config.json", "/config.json",
		"/home/k/.docker/config.json", "/root/.docker/config.json", "/.docker/config.json", "/srv/.docker/config.json",
		"/var/lib/kubelet/.docker/config.json", "/root/.dockercfg", "/home/k/.dockercfg", "/.dockercfg", "/srv/.dockercfg",
		"/var/lib/kubelet/.dockercfg", "/root/config.json",
	}
	for name, test := range map[string]struct {
		args []string
		at   *plan.Place
		want []string
	}{
		"systemd": {nil, &plan.Place{Dir: "/"}, []string{
			"/var/lib/kubelet/config.json", "/config.json", "/.docker/config.json", "/.dockercfg", "/var/lib/kubelet/.dockercfg",
		}},
		"elsewhere": {[]string{"--root-dir=/data/kubelet"}, &plan.Place{Dir: "/srv", Home: "/home/k"}, []string{
			"/data/kubelet/config.json", "/srv/config.json", "/home/k/.docker/config.json", "/.docker/config.json",
			"/home/k/.dockercfg", "/.dockercfg", "/srv/.dockercfg",
		}},
		"no home": {nil, &plan.Place{Dir: "/srv"}, []string{
			"/var/lib/kubelet/config.json", "/srv/config.json", "/.docker/config.json", "/srv/.docker/config.json",
			"/.dockercfg", "/srv/.dockercfg", "/var/lib/kubelet/.dockercfg",
		}},
		"not to be read": {nil, nil, []string{
			"/var/lib/kubelet/config.json", "/config.json", "/root/.docker/config.json", "/.docker/config.json",
			"/root/.dockercfg", "/.dockercfg", "/var/lib/kubelet/.dockercfg",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			host.startKubelet(append(slices.Clone(theFlags), test.args...)...)
			host.run[0].Place = test.at
			for _, file := range places {
				text := auths
				if strings.HasSuffix(file, ".dockercfg") {
					text = `{"mcr.microsoft.com": {"auth": "dTpw"}}`
				}
				write(t, n.path(file), text)
				todo, err := n.Plan(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got, want := warned(todo, doctor.NodeDockerConfig), []string{}
				if slices.Contains(test.want, file) {
					want = append(want, n.path(file))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: warnings about %q; want %q", file, got, want)
				}
				if len(want) > 0 && !slices.Contains(n.Watched(), n.path(file)) {
					t.Errorf("%s is not watched", file)
				}
				if err := os.Remove(n.path(file)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestPlaceOf reads where a process runs.
func TestPlaceOf(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat")
	cmd.Dir, cmd.Env = dir, []string{"A=HOME=/no", "HOME=/home/k", "HOMER=/no"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// When it answers it runs; before that it may have no environment yet.
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got := placeOf(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid)))
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := (plan.Place{Dir: dir, Home: "/home/k"}); got == nil || *got != want {
		t.Errorf("placeOf = %+v; want %+v", got, want)
	}
	if got := placeOf("/proc/gone"); got != nil {
		t.Errorf("placeOf of no process = %+v; want nil", got)
	}
}

// TestOtherProvidersCached has another program change the kubelet's file between
// runs: what is remembered of it never speaks for another file.
func TestOtherProvidersCached(t *testing.T) {
	const head = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n"
	entry := func(name, match string) string {
		return "  - name: " + name + "\n    apiVersion: credentialprovider.kubelet.k8s.io/v1\n    defaultCacheDuration: 10m\n    matchImages: [" + match + "]\n"
	}
	n, _ := newNode(t, anonymousMap)
	config := n.path(kubeletFile)
	for _, step := range []struct {
		text string
		want []string
	}{
		{head + entry("one", "mcr.microsoft.com"), []string{config + ":4"}},
		{head + entry("zero", "quay.io") + entry("one", "mcr.microsoft.com"), []string{config + ":8"}},
		{head + entry("one", "quay.io"), []string{}},
		{head + entry("one", "\"*.microsoft.com\"") + entry("two", "mcr.microsoft.com/x"), []string{config + ":4", config + ":8"}},
		{"{", []string{}},
		{head + entry(plan.PluginName, "mcr.microsoft.com"), []string{}},
	} {
		write(t, config, step.text)
		for range 2 { // what is read, and what is remembered
			todo, err := n.Apply(t.Context())
			if err != nil && step.text != "{" {
				t.Fatal(err)
			}
			if got := warned(todo, doctor.DuplicateAnswer); !slices.Equal(got, step.want) {
				t.Errorf("with %q: warnings about %q; want %q", step.text, got, step.want)
			}
		}
	}
}

// TestOldTrees changes hosts_dir to and fro, is killed before it remembers more,
// and forgets a tree when nothing of mirrorcred's is in it.
func TestOldTrees(t *testing.T) {
	n, _ := newNode(t, anonymousMap)
	move := func(dir string) plan.Plan {
		write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+dir+"'\n")
		return applyMap(t, n, anonymousMap+"[containerd]\nhosts_dir = \""+dir+"\"\n")
	}
	want := func(p plan.Plan, dirs ...string) {
		t.Helper()
		for i, dir := range dirs {
			dirs[i] = n.path(dir)
		}
		if got := warned(p, doctor.HostsDirLeftovers); !slices.Equal(got, append([]string{}, dirs...)) {
			t.Errorf("leftovers in %q; want %q", got, dirs)
		}
	}
	want(move("/etc/containerd/certs.d"))
	want(move("/b"), "/etc/containerd/certs.d")
	want(move("/c"), "/etc/containerd/certs.d", "/b")
	if !slices.Contains(n.Watched(), n.path("/b/*")) {
		t.Errorf("watched are %q; want /b among them", n.Watched())
	}
	want(move("/b"), "/etc/containerd/certs.d", "/c")
	for _, dir := range []string{"/etc/containerd/certs.d", "/c"} {
		if err := os.RemoveAll(n.path(dir, "mcr.microsoft.com")); err != nil {
			t.Fatal(err)
		}
	}
	want(apply(t, n))
	s, err := n.readState()
	if err != nil || s.OldTrees != nil {
		t.Errorf("the state has old trees %q, %v; want none", s.OldTrees, err)
	}
}
