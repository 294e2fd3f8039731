package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call is a system call of a traced program that succeeded and changed, or
// synced, a file.
type call struct {
	op   string // create, write, chmod, sync, syncfs, rename
	path string
	to   string // of a rename
	mode uint32 // of create and chmod
}

// trace runs a program under ptrace(2) and returns what it did to files below a
// directory, in its order: what the kernel was asked, whatever the program
// reports.
func trace(t *testing.T, cmd *exec.Cmd, dir string) []call {
	t.Helper()
	return traceOpens(t, cmd, dir, func(string) {})
}

// traceOpens is trace with a function that is called when the program is about to
// open a file, and waits for it.
func traceOpens(t *testing.T, cmd *exec.Cmd, dir string, opens func(path string)) []call {
	t.Helper()
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skipf("no process may be traced here: %v", err)
		}
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		t.Fatalf("the program did not stop at its start: %v, %#x", err, status)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		t.Fatal(err)
	}
	tr := tracer{dir: dir, opens: opens, entered: map[int]*call{}}
	for next := pid; ; {
		if err := unix.PtraceSyscall(next, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		var signal int
		for {
			tid, err := unix.Wait4(-pid, &status, unix.WALL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if status.Exited() || status.Signaled() {
				if tid != pid {
					continue // a thread
				}
				if status.ExitStatus() != 0 {
					t.Fatalf("the program ended with %#x", status)
				}
				return tr.calls
			}
			next, signal = tid, 0
			switch sig := status.StopSignal(); {
			case sig == unix.SIGTRAP|0x80:
				tr.stop(tid)
			case sig != unix.SIGTRAP && sig != unix.SIGSTOP:
				signal = int(sig)
			}
			if signal == 0 {
				break
			}
			if err := unix.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatal(err)
			}
		}
	}
}

type tracer struct {
	dir     string
	opens   func(path string)
	entered map[int]*call // by the thread
	calls   []call
}

// syscallInfo is struct ptrace_syscall_info of linux/ptrace.h.
type syscallInfo struct {
	op     uint8
	_      [3]uint8
	arch   uint32
	ip, sp uint64
	nr     uint64 // or the result
	args   [6]uint64
	_      [2]uint64
}

// stop is called when a thread enters or leaves a system call.
func (tr *tracer) stop(tid int) {
	const getSyscallInfo, entry, exit = 0x420e, 1, 2
	var info syscallInfo
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	switch {
	case errno != 0:
	case info.op == entry:
		tr.entered[tid] = tr.enter(tid, info)
	case info.op == exit && tr.entered[tid] != nil:
		if int64(info.nr) >= 0 {
			tr.calls = append(tr.calls, *tr.entered[tid])
		}
		delete(tr.entered, tid)
	}
}

// enter returns what a thread asks for, nil for what does not matter.
func (tr *tracer) enter(tid int, info syscallInfo) *call {
	a := info.args
	var c call
	switch info.nr {
	case unix.SYS_OPENAT:
		if a[2]&unix.O_CREAT == 0 {
			tr.opens(at(tid, a[0], a[1]))
			return nil
		}
		c = call{op: "create", path: at(tid, a[0], a[1]), mode: uint32(a[3])}
	case unix.SYS_OPENAT2:
		tr.opens(at(tid, a[0], a[1]))
		return nil
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE:
		c = call{op: "write", path: ofFd(tid, a[0])}
	case unix.SYS_FCHMOD:
		c = call{op: "chmod", path: ofFd(tid, a[0]), mode: uint32(a[1])}
	case unix.SYS_FCHMODAT:
		c = call{op: "chmod", path: at(tid, a[0], a[1]), mode: uint32(a[2])}
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		c = call{op: "sync", path: ofFd(tid, a[0])}
	case unix.SYS_SYNCFS:
		return &call{op: "syncfs"}
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		c = call{op: "rename", path: at(tid, a[0], a[1]), to: at(tid, a[2], a[3])}
	}
	if c.path != tr.dir && !strings.HasPrefix(c.path, tr.dir+"/") {
		return nil
	}
	return &c
}

func ofFd(tid int, fd uint64) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(fd)))
	return path
}

// at returns the path of a directory's descriptor and a name in the thread's
// memory.
func at(tid int, fd, name uint64) string {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return ""
	}
	defer mem.Close()
	data := make([]byte, unix.PathMax)
	n, err := mem.ReadAt(data, int64(name))
	if n == 0 && err != io.EOF {
		return ""
	}
	path, _, _ := strings.Cut(string(data[:n]), "\x00")
	switch {
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	case int32(fd) == unix.AT_FDCWD:
		dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", tid))
		return filepath.Join(dir, path)
	}
	return filepath.Join(ofFd(tid, fd), path)
}

// TestModesAndSyncsTraced traces a run that makes files of all kinds. Each is closed to
// others from its first byte on, and what is renamed into place was synced since
// it was written, as the directory is afterwards.
func TestModesAndSyncsTraced(t *testing.T) {
	n := newTree(t)
	root, err := filepath.EvalSymlinks(n.root)
	n.must(err)
	n.root = root
	n.write(mapPath, "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\nheader = { X-Vault-Token = \"c4n4ry\" }\n")
	n.must(os.Chmod(filepath.Join(root, mapPath), 0o600))
	n.write(kubeletPath, otherProvider)
	first := trace(t, program(t, "apply", "--root", root), root)
	n.write(mapPath, "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"fabrikam.azurecr.io\"]\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"fabrikam.azurecr.io\"]\n")
	second := trace(t, program(t, "apply", "--root", root), root)
	renamed := 0
	for _, calls := range [][]call{first, second} {
		dirty := map[string]bool{}   // written, and not synced
		renames := map[string]bool{} // directories with a rename that is not synced
		for _, c := range calls {
			switch c.op {
			case "create":
				dirty[c.path] = true
				if c.mode&0o077 != 0 {
					t.Errorf("%s is created with mode %04o", c.path, c.mode)
				}
			case "write":
				dirty[c.path] = true
			case "sync":
				delete(dirty, c.path)
				delete(renames, c.path)
			case "syncfs":
				clear(dirty)
				clear(renames)
			case "rename":
				renamed++
				for path := range dirty {
					if path == c.path || strings.HasPrefix(path, c.path+"/") {
						t.Errorf("%s is renamed to %s, and %s was not synced", c.path, c.to, path)
					}
				}
				renames[filepath.Dir(c.to)] = true
			}
		}
		for dir := range renames {
			t.Errorf("a rename in %s is not synced", dir)
		}
	}
	if renamed < 8 {
		t.Errorf("%d renames were seen; want those of routes, state, the kubelet's file, its copy and hosts.toml", renamed)
	}
}

// TestPluginReadsWhileRetargeted turns a mirror, as the manager does, while the plugin is
// between its two reads: it has read the previous route, and finds the new
// hosts.toml. It answers for that, and the pull does not fail.
func TestPluginReadsWhileRetargeted(t *testing.T) {
	n := newTree(t)
	root, err := filepath.EvalSymlinks(n.root)
	n.must(err)
	n.root = root
	plugin := filepath.Join(t.TempDir(), "mirror-credential-provider")
	if out, err := exec.Command("go", "build", "-o", plugin, "../mirror-credential-provider").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	n.write("etc/mirrorcred/c.json", `{"auths": {"one.corp": {"auth": "dTpvbmU="}, "two.corp": {"auth": "dTp0d28="}}}`)
	n.must(os.Chmod(n.path("etc/mirrorcred/c.json"), 0o600))
	apply := func(target string) (hosts, route string) {
		n.write(mapPath, oneMirror(target)+"[registry.\""+target+"\"]\ncredential = \"c\"\n[credential.c]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/c.json\"\n")
		if out, err := program(t, "apply", "--root", root).CombinedOutput(); err != nil {
			t.Fatalf("apply: %v\n%s", err, out)
		}
		return n.read(hostsPath), n.read(routePath)
	}
	hosts, route := apply("two.corp")
	apply("one.corp")
	dir := t.TempDir()
	question := filepath.Join(dir, "question")
	n.must(os.WriteFile(question, []byte(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"mcr.microsoft.com/x"}`), 0o600))
	stdin, err := os.Open(question)
	n.must(err)
	defer stdin.Close()
	stdout, err := os.Create(filepath.Join(dir, "answer"))
	n.must(err)
	defer stdout.Close()
	cmd := exec.Command(plugin, "--root="+root, "--registry-mirror=@/var/lib/mirrorcred/routes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	turned := false
	traceOpens(t, cmd, root, func(path string) {
		if path == filepath.Join(root, hostsPath) && !turned {
			turned = true
			n.write(routePath, route)
			n.write(hostsPath, hosts)
		}
	})
	answer, err := os.ReadFile(stdout.Name())
	if err != nil || !turned || !strings.Contains(string(answer), `"password":"two"`) {
		t.Errorf("the plugin answers %s, %v; want the password of the new target", answer, err)
	}
}
