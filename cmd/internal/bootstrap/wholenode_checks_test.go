package bootstrap

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/check"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// named returns a file by the name that steps have for it: MicroK8s is told of by a
// link.
func (w *wholeNode) named(file string) string {
	return strings.Replace(file, "/var/snap/microk8s/7345/args/kubelet", "/var/snap/microk8s/current/args/kubelet", 1)
}

// isRefused holds that a phase is refused, with the file that has to change.
func (w *wholeNode) isRefused(name string, want layouts.Outcome, got []Refusal) {
	w.Helper()
	for _, r := range got {
		isAbout := func(word string) bool { return strings.Contains(r.String(), word) }
		if want.Refused != nil && strings.HasPrefix(r.String(), want.Refused[0]) && !slices.ContainsFunc(want.Refused, func(word string) bool { return !isAbout(word) }) {
			return
		}
	}
	w.Errorf("%s is refused with %v; want %q", name, got, want.Refused)
}

// untouched holds that no file has another time than it had, and that none came or
// went.
func (w *wholeNode) untouched(what string, before map[string]string) {
	w.Helper()
	now := times(w, w.root)
	for name, time := range now {
		if before[name] != time {
			w.Errorf("%s touches %s", what, name)
		}
	}
	if len(now) != len(before) {
		w.Errorf("%s: there are %d files; before there were %d", what, len(now), len(before))
	}
}

// files returns the text of each file of the node.
func (w *wholeNode) files() map[string]string {
	w.Helper()
	all := map[string]string{}
	for file := range times(w, w.root) {
		info, err := os.Lstat(file)
		if err != nil {
			w.Fatal(err)
		}
		name := strings.TrimPrefix(file, w.root)
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			all[name], err = os.Readlink(file)
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(file)
			all[name] = string(data)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	return all
}

// isOwn reports whether a file that was not there is one that mirrorcred brings.
func (w *wholeNode) isOwn(name string) bool {
	m, err := node.New(w.root, "", false).ReadMap()
	if err != nil {
		w.Fatal(err)
	}
	for _, dir := range []string{plan.StateDir, m.Containerd.HostsDir, m.Kubelet.Config} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return slices.Contains([]string{
		systemd.Program, path.Join(m.Kubelet.BinDir, Plugin), "/usr/local/share/man/man1/mirrorcred.1", "/etc/tmpfiles.d/mirrorcred.conf",
		"/etc/systemd/system/" + systemd.WatchUnit, "/etc/systemd/system/" + systemd.ApplyUnit,
		"/etc/systemd/system/" + systemd.DeliverUnit, "/etc/systemd/system/" + systemd.DeliverPathUnit,
		"/etc/systemd/system/mirrorcred.service.d/bootstrap.conf", wants + systemd.WatchUnit,
	}, name)
}

// onlyChanged holds that both phases left all other files of the node alone.
func (w *wholeNode) onlyChanged(before map[string]string) {
	w.Helper()
	now := w.files()
	for name, text := range before {
		if now[name] != text && !slices.Contains(w.node.Bake.Writes, name) && !slices.Contains(w.node.Join.Writes, name) {
			w.Errorf("%s was %q and is %q", name, text, now[name])
		}
	}
}

// hasFlags holds that the kubelet's command is what it was, with the two flags behind
// it if it had none.
func (w *wholeNode) hasFlags(before []string) {
	w.Helper()
	now := argvOf(w.root)
	_, had := kubelet.Flag(before, kubeletflags.ConfigFlag)
	if had || before == nil { // k3s, RKE2 and MicroK8s have no such unit
		if !slices.Equal(now, before) {
			w.Errorf("the kubelet's command was %q and is %q", before, now)
		}
	}
	// k3s and RKE2 set the flags once there is something for them to name.
	if w.node.Join.Refused == nil && (before != nil || w.node.Bake.Refused == nil) {
		checkFlags(w, w.root, before)
	}
}

// isHealthy holds what check finds after bake and join.
func (w *wholeNode) isHealthy() {
	w.Helper()
	want := leftToDo[w.node.Containerd.Name]
	var found []string
	for _, f := range check.Node(w.Context(), check.Options{Root: w.root}) {
		if f.Severity == doctor.Note {
			continue
		}
		found = append(found, f.Name)
		if f.Name != want.name || !strings.Contains(f.Repair, want.repair) {
			w.Errorf("check: %s %s: %s", f.Severity, f.Name, f.Finding)
		}
	}
	if want.name != "" && len(found) == 0 {
		w.Errorf("check finds nothing; want %s: %s", want.name, want.why)
	}
}

// leftToDo is what check rightly finds after bake and join, by containerd's half: the
// name of the only finding, its repair, and why it is there.
var leftToDo = map[string]struct{ name, repair, why string }{
	"aks-1.7":      {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"aks-2.x":      {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"aks-isolated": {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"eks":          {containerdconfig.PathList, "reboot", "nodeadm sets config_path at the next boot, and until then no pull uses the mirror; see TestEKSBoots"},
}
