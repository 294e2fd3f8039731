package e2e

import "strings"

// nextVersion is the version that a fleet is upgraded to.
const nextVersion = "next"

// nextReference is its image.
const nextReference = pauseRegistry + "/mirrorcred:2"

// upgrades rolls out an image of another version while the node pulls, of which it sees
// nothing: the programs on the node, the watcher and the kubelet's plugin are the new ones,
// and the kubelet runs on.
func (f fleet) upgrades() {
	f.Helper()
	pushVersion(f.T, "2", program(nextVersion), "inspect")
	before, kubelet := f.mainPID("mirrorcred.service"), f.mainPID("kubelet.service")
	tr := startTraffic(f.T, byCRI(f.T, f.containerd), func(int) string { return nthTarget(1) })
	tr.settle(3)
	f.image = nextReference
	f.rollOut(rolloutValues(retargeted(2), retargeted(1)))
	f.isOut("canary", 2)
	f.isOut("default", 3)
	tr.settle(3)
	tr.checkCalm(func(int) bool { return true })

	for _, file := range []string{"/usr/local/bin/mirrorcred", providerBin + "/mirror-credential-provider"} {
		args := []string{"version"}
		if strings.HasPrefix(file, providerBin) {
			args = []string{"--version"}
		}
		if out, err := f.systemd.Command(f.Context(), file, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), nextVersion) {
			f.Errorf("%s is still %s, %v", file, out, err)
		}
	}
	if now := f.mainPID("mirrorcred.service"); now == before || now == "0" {
		f.Errorf("the watcher is process %s as before, %s", now, before)
	}
	if now := f.mainPID("kubelet.service"); now != kubelet {
		f.Errorf("the kubelet is process %s; want %s", now, kubelet)
	}
	if out, err := f.systemd.Command(f.Context(), "/usr/local/bin/mirrorcred", "check").CombinedOutput(); err != nil {
		f.Errorf("check after the upgrade: %v\n%s", err, out)
	}
	f.pulls(1, "next-version")
}

func (n *bare) mainPID(unit string) string {
	n.Helper()
	return strings.TrimSpace(n.do("show", "--property=MainPID", "--value", unit))
}

// installerHasRights runs the installer on a node that is set up, and looks at it while
// it stays, as hasRights does at the courier: it can write to the directories that it is
// given, reach the bus, and nothing else.
func (f fleet) installerHasRights() {
	f.Helper()
	f.runPart("installer", "default", func(spec map[string]any) {
		container := spec["initContainers"].([]any)[0].(map[string]any)
		container["args"] = append(container["args"].([]any), "--stay")
		delete(spec, "initContainers")
		spec["containers"] = []any{container}
	})
	id := f.container("installer", "install")
	f.isConfined(id, map[string]string{
		"/etc/mirrorcred/delivered": "/etc/mirrorcred/delivered rw",
		"/usr/local/lib/mirrorcred": "/usr/local/lib/mirrorcred rw",
		"/etc/systemd/system":       "/etc/systemd/system rw",
		"/run/dbus":                 "/run/dbus ro",
	})
	for line := range strings.Lines(f.inspect(id, canaryOfNode)) {
		what, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		within := func(dirs ...string) bool {
			for _, dir := range dirs {
				if path == dir || strings.HasPrefix(path, dir+"/") {
					return true
				}
			}
			return false
		}
		switch {
		case what == "done":
		case what == "writable" && within("/etc/hosts", "/dev", "/etc/mirrorcred/delivered", "/usr/local/lib/mirrorcred", "/etc/systemd/system"):
		case what == "socket" && within("/run/dbus"):
		default:
			f.Errorf("in the installer there is %s", line)
		}
	}
	f.endCourier("installer")
}
