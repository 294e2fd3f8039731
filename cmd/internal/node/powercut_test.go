package node

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A volatile is a disk of which a power cut takes away what was not synced. It
// sees each step before it is made.
type volatile struct {
	t       *testing.T
	aside   string          // where it keeps what steps replace
	unsafe  map[string]bool // files and directories whose contents are not on the disk yet
	pending []change        // renames and removals that are not on the disk yet
}

// A change is a rename or a removal: what was at a path before.
type change struct{ path, before string } // before is "" if nothing was

// step implements the hook of [disk].
func (v *volatile) step(op string, paths ...string) {
	path := paths[len(paths)-1]
	switch op {
	case "create", "write", "mkdir":
		v.unsafe[path] = true
		v.unsafe[filepath.Dir(path)] = true
	case "sync":
		delete(v.unsafe, path)
		kept := v.pending[:0]
		for _, c := range v.pending {
			if filepath.Dir(c.path) != path {
				kept = append(kept, c)
			}
		}
		v.pending = kept
	case "syncfs":
		v.unsafe, v.pending = map[string]bool{}, nil
	case "rename":
		v.checkSynced(paths[0])
		v.save(paths[0])
		v.save(path)
	case "remove":
		v.save(path)
	}
}

// checkSynced fails if something is put into place before its contents are
// on the disk: after a power cut it may be empty.
func (v *volatile) checkSynced(name string) {
	for path := range v.unsafe {
		if path == name || strings.HasPrefix(path, name+"/") {
			v.t.Errorf("%s is renamed before it was synced", path)
		}
	}
}

func (v *volatile) save(path string) {
	c := change{path: path}
	if _, err := os.Lstat(path); err == nil {
		c.before = filepath.Join(v.aside, strconv.Itoa(len(v.pending))+"-"+filepath.Base(path))
		os.RemoveAll(c.before)
		copyAny(v.t, path, c.before)
	}
	v.pending = append(v.pending, c)
}

// cut takes away everything that was not synced.
func (v *volatile) cut() {
	for i := len(v.pending) - 1; i >= 0; i-- {
		c := v.pending[i]
		if err := os.RemoveAll(c.path); err != nil {
			v.t.Fatal(err)
		}
		if c.before != "" {
			copyAny(v.t, c.before, c.path)
		}
	}
	for path := range v.unsafe {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			if err := os.Truncate(path, 0); err != nil {
				v.t.Fatal(err)
			}
		}
	}
}

// checkDone fails if a change is not on the disk after the last step, unless no program
// reads it.
func (v *volatile) checkDone() {
	for _, c := range v.pending {
		if !strings.HasPrefix(filepath.Base(c.path), temporary) {
			v.t.Errorf("at the end %s is not synced", c.path)
		}
	}
}

// copyAny copies a file or a directory.
func copyAny(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Lstat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		copyTree(t, from, to)
		return
	}
	if leads, err := os.Readlink(from); err == nil {
		if err := os.Symlink(leads, to); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, info.Mode().Perm())
	}
	if err == nil {
		err = os.Chmod(to, info.Mode().Perm())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPowerCut cuts the power before each step of each transition: nothing
// that was not synced is there then. The node is whole, and the next run
// finishes the work.
func TestPowerCut(t *testing.T) {
	for name, tr := range transitions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh, want := prepare(t, tr)
			for k := 1; ; k += tr.stride() {
				n, maps := fresh(t)
				v := &volatile{t: t, aside: t.TempDir(), unsafe: map[string]bool{}}
				count := 0
				n.disk.step = func(op string, paths ...string) error {
					if count++; count == k {
						panic(errKilled)
					}
					v.step(op, paths...)
					return nil
				}
				dead := killed(t, n)
				v.cut()
				n.disk = disk{}
				tr.checkHalf(t, n, maps, "after the power cut")
				if !dead {
					v.checkDone()
				}
				tr.apply(t, n)
				tr.check(t, n, maps, "after the next run")
				sameTree(t, tr.tree(t, n), want)
				if t.Failed() {
					t.Fatalf("the power was cut at step %d", k)
				}
				if !dead {
					break
				}
			}
		})
	}
}

// TestKill9 kills a process that applies a map, in earnest.
func TestKill9(t *testing.T) {
	if root := os.Getenv("KILL_ROOT"); root != "" {
		killMyself(t, root)
		return
	}
	// No kubelet runs, as far as New can see one below another root.
	tr := transitions["first of many"]
	fresh, want := prepare(t, tr)
	for k := 1; k < 60; k += 6 {
		n, maps := fresh(t)
		command := exec.Command(os.Args[0], "-test.run=^TestKill9$")
		command.Env = append(os.Environ(), "KILL_ROOT="+n.Root, "KILL_STEP="+strconv.Itoa(k))
		out, err := command.CombinedOutput()
		if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			if err != nil {
				t.Fatalf("step %d: %v: %s", k, err, out)
			}
		}
		checkWhole(t, n, maps, "killed at step "+strconv.Itoa(k))
		apply(t, n)
		sameTree(t, tree(t, n.Root, false), want)
		leaveNothing(t, n)
	}
}

func killMyself(t *testing.T, root string) {
	last, err := strconv.Atoi(os.Getenv("KILL_STEP"))
	if err != nil {
		t.Fatal(err)
	}
	n := New(root, "", false)
	count := 0
	n.disk.step = func(string, ...string) error {
		if count++; count == last {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	apply(t, n)
}

// leaveNothing fails if something half built is left.
func leaveNothing(t *testing.T, n *Node) {
	t.Helper()
	err := filepath.WalkDir(n.Root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && isTemporary(e) {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
