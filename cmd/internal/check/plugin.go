package check

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// plugin checks the program that the kubelet would run.
func (v *visit) plugin(binDir string) {
	path := v.at(binDir, plan.PluginName)
	install := fmt.Sprintf("install -D -m 0755 %s %s", plan.PluginName, path)
	f, info, err := v.in.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.add(doctor.PluginMissing, path, "the plugin does not exist, and the kubelet does not start with a configuration that names it", install)
		return
	case err != nil:
		v.missed(path, err)
		return
	}
	defer f.Close()
	if info.Mode().Perm()&0o111 == 0 {
		v.add(doctor.PluginNotExecutable, path, fmt.Sprintf("the plugin has mode %#o and cannot be run", info.Mode().Perm()), "chmod 0755 "+path)
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return // a script, or a test's
	}
	defer program.Close()
	if v.arch != elf.EM_NONE && program.Machine != v.arch {
		v.add(doctor.PluginWrongArch, path, fmt.Sprintf("the plugin is built for %s, and this machine is %s", program.Machine, v.arch), "install the one for this machine: "+install)
	}
}

// stopped says why the plugin returns no credentials.
func (v *visit) stopped(err error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		v.missed("", err)
	case err != nil:
		text, _ := fault.Split(err.Error()) // what to do was for the moment when it was written
		v.add(doctor.PluginStopped, "", "the plugin returns no credentials: "+text, "mirrorcred apply")
	}
}

// enabled is the link by which systemd starts the watcher at boot.
const enabled = "/etc/systemd/system/multi-user.target.wants/" + systemd.WatchUnit

// watcher asks the watcher, if it should run. m is nil for a map that does not parse.
func (v *visit) watcher(ctx context.Context, o Options, m *mirror.Map) {
	_, disabled := v.in.Lstat(v.at(enabled))
	if o.Watcher == nil || disabled != nil && (m == nil || !m.Delivers()) {
		return
	}
	w, err := o.Watcher(ctx)
	if err != nil && disabled != nil {
		v.add(doctor.WatcherNotRunning, systemd.WatchUnit, "the map has credentials in hosts.toml, but no watcher runs to write renewed ones there, so they will expire", "systemctl enable --now "+systemd.WatchUnit)
		return
	}
	if err != nil {
		v.add(doctor.WatcherNotRunning, systemd.WatchUnit, fmt.Sprintf("the watcher is enabled and does not answer: %v", err), "systemctl restart "+systemd.WatchUnit)
		return
	}
	if w.Version != o.Version {
		v.add(doctor.WatcherOlder, systemd.WatchUnit, fmt.Sprintf("the watcher that runs has version %s, and version %s is installed, so this node is kept by the rules of the other one", w.Version, o.Version), "systemctl restart "+systemd.WatchUnit)
	}
	if w.Degraded != "" {
		text, repair := fault.Split(w.Degraded)
		v.add(doctor.NoInotify, systemd.WatchUnit, "the watcher notices some changes only at its next reconcile: "+text, cmp.Or(repair, "sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288"))
	}
}
