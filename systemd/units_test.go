package systemd_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// TestUnitsVerify lets systemd read the units and score what they are exposed to.
func TestUnitsVerify(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	// The program must be there, so it is one that is.
	for _, path := range install(t, tool(t, "env", "coreutils")) {
		if filepath.Ext(path) == ".conf" {
			continue
		}
		for _, args := range [][]string{
			{"verify", "--man=no", path},
			{"security", "--offline=true", "--threshold=30", "--no-pager", path},
		} {
			if args[0] == "security" && filepath.Ext(path) != ".service" {
				continue
			}
			out, err := exec.Command(analyze, args...).CombinedOutput()
			if err != nil {
				t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			// What systemd does not know it ignores, and says so.
			if args[0] == "verify" && len(out) > 0 {
				t.Errorf("systemd-analyze %s says:\n%s", strings.Join(args, " "), out)
			}
		}
	}
}

// TestTmpfiles lets systemd make the directories below another root.
func TestTmpfiles(t *testing.T) {
	create := tool(t, "systemd-tmpfiles", "systemd")
	root := t.TempDir()
	for _, path := range install(t, "") {
		if filepath.Ext(path) != ".conf" {
			continue
		}
		cmd := exec.Command(create, "--create", "--root="+root, path)
		if uid := os.Getuid(); uid != 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
		}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("systemd-tmpfiles: %v\n%s", err, out)
		}
	}
	for _, path := range []string{"/run/mirrorcred", "/run/mirrorcred/tokens", "/var/log/mirrorcred"} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
			continue
		}
		if want := fs.ModeDir | 0o700; info.Mode() != want {
			t.Errorf("mode of %s = %v; want %v", path, info.Mode(), want)
		}
	}
}

// TestUnitsSandbox holds lines that no tool would miss.
func TestUnitsSandbox(t *testing.T) {
	both := []string{
		"Before=kubelet.service k3s.service k3s-agent.service rke2-server.service rke2-agent.service snap.microk8s.daemon-kubelite.service",
		"ReadWritePaths=-/etc/containerd -/var/lib/kubelet",
		"RuntimeDirectory=mirrorcred mirrorcred/status mirrorcred/tokens",
		"RuntimeDirectoryMode=0700",
		"RuntimeDirectoryPreserve=yes", // or a stop would empty the plugin's cache
		"StateDirectory=mirrorcred",
		"LogsDirectory=mirrorcred",
		"ProtectProc=default", // or the kubelet is not seen
		"ProcSubset=all",
		"CapabilityBoundingSet=CAP_CHOWN",
		"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
	}
	want := map[string][]string{
		systemd.WatchUnit: append([]string{
			"Type=notify", "NotifyAccess=main", "WatchdogSec=3min", "Restart=on-failure",
			"ExecStart=/usr/local/bin/mirrorcred watch $MIRRORCRED_FLAGS", "Wants=mirrorcred-deliver.path",
			"ExecReload=/bin/kill -HUP $MAINPID",
		}, both...),
		systemd.ApplyUnit: append([]string{
			"Type=oneshot", "SuccessExitStatus=143",
			"ExecStart=/usr/local/bin/mirrorcred apply --no-deliver", "Wants=mirrorcred-deliver.path",
			// Or what a restart of containerd has it read is not noticed, nor
			// if it restarts often.
			"WantedBy=multi-user.target containerd.service", "StartLimitIntervalSec=0",
		}, both...),
	}
	want[systemd.DeliverUnit] = []string{
		"Type=notify", "NotifyAccess=main", "WatchdogSec=3min", "Restart=on-failure", "StartLimitIntervalSec=0",
		"ExecStart=/usr/local/bin/mirrorcred deliver", "PartOf=mirrorcred.service",
		"CapabilityBoundingSet=", "ProtectSystem=strict", "StateDirectory=mirrorcred/delivered", "StateDirectoryMode=0700",
		"RuntimeDirectory=mirrorcred/ready", "RuntimeDirectoryMode=0700", "ReadOnlyPaths=/run", "RuntimeDirectoryPreserve=yes",
		"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
	}
	want[systemd.DeliverPathUnit] = []string{"PathExists=/run/mirrorcred/deliver-wanted", "PartOf=mirrorcred.service"}
	for _, u := range units(t, "") {
		// Only the service that asks registries may reach them, and it may write to no
		// other program's files.
		hasNetwork, writes := !bytes.Contains(u.Data, []byte("\nIPAddressDeny=any\n")), bytes.Contains(u.Data, []byte("\nReadWritePaths="))
		if asks := u.Name == systemd.DeliverUnit; filepath.Ext(u.Name) == ".service" && (hasNetwork != asks || writes == asks) {
			t.Errorf("%s: has the network: %t, writes outside of its own directories: %t", u.Name, hasNetwork, writes)
		}
		lines := strings.Split(string(u.Data), "\n")
		has := map[string]bool{}
		for _, line := range lines {
			has[line] = true
			key, value, _ := strings.Cut(line, "=")
			if key == "Requires" || key == "BindsTo" || key == "Requisite" {
				t.Errorf("%s: %s=%s; nothing is required to be there", u.Name, key, value)
			}
		}
		for _, line := range want[u.Name] {
			if !has[line] {
				t.Errorf("%s lacks %q", u.Name, line)
			}
		}
	}
}

func TestUnitsProgram(t *testing.T) {
	for _, u := range units(t, "/opt/bin/mirrorcred-1.0") {
		if bytes.Contains(u.Data, []byte(systemd.Program)) {
			t.Errorf("%s still names %s", u.Path, systemd.Program)
		}
		if filepath.Ext(u.Name) == ".service" && !bytes.Contains(u.Data, []byte("\nExecStart=/opt/bin/mirrorcred-1.0 ")) {
			t.Errorf("%s does not run /opt/bin/mirrorcred-1.0", u.Path)
		}
	}
	for _, program := range []string{
		"mirrorcred", "./mirrorcred", "/opt/my programs/mirrorcred", "/opt/100%/mirrorcred",
		"/opt/$HOME/mirrorcred", "/opt/../bin/mirrorcred", "/bin/true\nUser=nobody", "/",
	} {
		_, err := systemd.Units(program)
		if err == nil || !strings.Contains(err.Error(), "; write an absolute path") {
			t.Errorf("Units(%q) = %v; want an error that says what to write", program, err)
		}
	}
}

// TestInstallerUnits has systemd judge the units of the installer, and holds what
// they run.
func TestInstallerUnits(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	root := t.TempDir()
	var paths []string
	for _, u := range systemd.InstallerUnits() {
		if systemd.Edited(u.Data) || !bytes.Contains(u.Data, []byte("\nExecStart="+systemd.InstallerDir+"/mirrorcred bootstrap ")) {
			t.Errorf("%s is\n%s", u.Name, u.Data)
		}
		path := filepath.Join(root, u.Name)
		// The program is not on this machine.
		data := bytes.ReplaceAll(u.Data, []byte("ExecStart="+systemd.InstallerDir+"/mirrorcred "), []byte("ExecStart=/bin/true "))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	cmd := exec.Command(analyze, append([]string{"verify", "--man=no", "--recursive-errors=no"}, paths...)...)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func units(t *testing.T, program string) []systemd.Unit {
	t.Helper()
	list, err := systemd.Units(program)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// install writes the units below a directory and returns their paths.
func install(t *testing.T, program string) []string {
	t.Helper()
	root := t.TempDir()
	var paths []string
	for _, u := range units(t, program) {
		path := filepath.Join(root, u.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, u.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// tool returns the path of a program that the tests cannot do without.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; install it: apt-get install %s", err, debian)
	}
	return path
}
