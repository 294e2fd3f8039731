package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
)

// idleVariable has this binary do nothing, as a process of another name.
const idleVariable = "MIRRORCRED_TEST_IDLE"

// TestMain runs the program itself if a script calls it, or a test starts
// this binary as it.
func TestMain(m *testing.M) {
	containerdtest.Main()
	if os.Getenv(idleVariable) != "" {
		time.Sleep(time.Hour)
		return
	}
	if machinetest.Inside() {
		os.Exit(machinetest.Main(m, insides))
	}
	if os.Getenv("MIRRORCRED_TEST_MAIN") != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"mirrorcred": main})
}

// TestScript runs mirrorcred as a program on nodes below $WORK/root. Each
// begins with a containerd that reads mirrorcred's tree and an installed plugin. UPDATE=1 has
// the files written anew that a script compares.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			r := &runningStore{}
			env.Values[storeKey{}] = r
			env.Defer(r.end)
			return newRoot(filepath.Join(env.WorkDir, "root"))
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"containerd": startContainerd,
			"exits":      exits,
			"keep":       func(ts *testscript.TestScript, _ bool, args []string) { keep(ts, args) },
			"kept":       func(ts *testscript.TestScript, _ bool, args []string) { checkKept(ts, args) },
			"mode":       mode,
			"pems":       pems,
			"pulls":      pulls,
			"refused":    refused,
		},
	})
}

// newRoot makes what every node has, unless the script has its own: what a pull
// needs, so that a node in sync has no warning.
func newRoot(root string) error {
	for name, text := range map[string]string{
		"etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n",
		"etc/kubernetes/azure.json":  `{"tenantId": "contoso", "useManagedIdentityExtension": true}`,
		"etc/default/kubelet":        "KUBELET_EXTRA_ARGS=--image-credential-provider-config=/var/lib/kubelet/credential-provider-config.yaml --image-credential-provider-bin-dir=/var/lib/kubelet/credential-provider\n",
		"var/lib/kubelet/credential-provider/mirror-credential-provider": "#!/bin/sh\n",
		"var/lib/kubelet/credential-provider/acr-credential-provider":    "#!/bin/sh\n",
	} {
		path := filepath.Join(root, name)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// exits runs a program that has to exit with the code: exits CODE PROGRAM ARG…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d; want %d", got, want)
	}
}

// snapshot returns everything that can be seen of a tree: names, modes,
// inodes, times of change and contents.
func snapshot(ts *testscript.TestScript, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d %d ", strings.TrimPrefix(path, dir), info.Mode(), st.Ino, info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%q", data)
		}
		b.WriteByte('\n')
		return nil
	})
	ts.Check(err)
	return b.String()
}

// keep takes a snapshot of a directory, with which kept compares it: keep DIR.
func keep(ts *testscript.TestScript, args []string) {
	ts.Setenv("KEPT", snapshot(ts, ts.MkAbs(args[0])))
}

func checkKept(ts *testscript.TestScript, args []string) {
	before, after := ts.Getenv("KEPT"), snapshot(ts, ts.MkAbs(args[0]))
	if before != after {
		ts.Fatalf("%s changed; it was\n%s\nand is\n%s", args[0], before, after)
	}
}

// mode compares permissions: mode PERM PATH…
func mode(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args[1:] {
		info, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("mode of %s is %s; want %s", path, got, args[0])
		}
	}
}

// pems writes certificates and keys, good and bad ones, into a directory: pems
// DIR. Their names are those of [tlstest.Files].
func pems(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for name, data := range tlstest.Files(time.Now()) {
		ts.Check(os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

// refused puts a map into place, and has "mirrorcred apply" refuse it with
// exactly the text of a file and change nothing: refused MAP TEXT.
func refused(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs("root/etc/mirrorcred/mirrors.toml")
	ts.Check(os.WriteFile(file, []byte(ts.ReadFile(args[0])), 0o644))
	before := snapshot(ts, ts.MkAbs("root"))
	exits(ts, false, []string{"1", "mirrorcred", "apply", "--root", "root"})
	want := strings.ReplaceAll(ts.ReadFile(args[1]), "MAP", file)
	if got := ts.ReadFile("stderr"); got != want {
		ts.Fatalf("%s: stderr is\n%swant\n%s", args[0], got, want)
	}
	if got := ts.ReadFile("stdout"); got != "" {
		ts.Fatalf("%s: stdout is %q; want nothing", args[0], got)
	}
	if after := snapshot(ts, ts.MkAbs("root")); before != after {
		ts.Fatalf("%s: the node changed; it was\n%s\nand is\n%s", args[0], before, after)
	}
}
