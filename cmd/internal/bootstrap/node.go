package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Node is the machine, or the tree of one below another root. Its callers hold
// the lock of package node while they observe and carry out.
type Node struct {
	// Root is the directory that all paths are below, "" for the machine itself.
	Root string
	// Made is called after each step, unless it is nil.
	Made func(Step)

	disk disk
	// offline says that no systemd runs here, so that commands cannot be run.
	offline bool
	// run runs a command; tests replace it.
	run func(ctx context.Context, command []string) error
}

// New returns the node below root; "" or "/" is the machine itself.
func New(root string) *Node {
	if root == "/" {
		root = ""
	}
	return &Node{Root: root, offline: root != "" || !hasSystemd(), disk: disk{tree: durable.Tree{Root: input.NewRoot(root)}}, run: runCommand}
}

// hasSystemd reports whether systemd runs this machine (sd_booted(3)). In a
// container that builds an image it does not.
func hasSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Observe returns what is at a path of the node, nil if nothing is. It does not
// follow a link.
func (n *Node) Observe(path string) (*File, error) { return n.disk.observe(path) }

// resolve follows the links of a path of the node. The file at the end need not exist.
func (n *Node) resolve(name string) (string, error) {
	at := name
	for range 40 {
		f, err := n.disk.observe(at)
		if err != nil || f == nil || f.Link == "" {
			return at, err
		}
		if path.IsAbs(f.Link) {
			at = path.Clean(f.Link)
		} else {
			at = path.Join(path.Dir(at), f.Link)
		}
	}
	return "", fmt.Errorf("%s: it is a symbolic link that leads to itself; remove it", n.disk.at(name))
}

// commandOutput is how much of a failed command's output its error has.
const commandOutput = 2000

// settled is how long a file is on the disk before the service that reads it is
// restarted. Files are stamped when the kernel's clock ticks and processes to a
// hundredth of a second, and a service that seems to have started at the moment of the
// change may have read what was there before (see package clock).
const settled = 50 * time.Millisecond

func runCommand(ctx context.Context, command []string) error {
	if slices.Contains(command, "restart") {
		time.Sleep(settled)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if len(text) > commandOutput {
		text = text[len(text)-commandOutput:]
	}
	if text != "" {
		text = ": " + text
	}
	return fmt.Errorf("%s: %w%s; everything before it is done, so repair the cause and run this again", strings.Join(command, " "), err, text)
}

// finish completes a plan with what every plan needs: the directories of its files, and
// the commands that an earlier run did not get to.
func (n *Node) finish(p Plan) (Plan, error) {
	steps, err := n.withDirs(p.Steps)
	if err != nil {
		return p, err
	}
	r, err := n.record()
	if err != nil {
		return p, err
	}
	for _, command := range r.Owed {
		if !slices.ContainsFunc(steps, func(s Step) bool { return slices.Equal(s.Command, command) }) {
			steps = append(steps, Step{Command: command})
		}
	}
	p.Steps = steps
	return p, nil
}

// withDirs returns steps with those that make the directories of their files. New
// files belong to the user that runs this.
func (n *Node) withDirs(steps []Step) ([]Step, error) {
	var all []Step
	made := map[string]bool{}
	for _, s := range steps {
		if s.Path != "" && s.New != nil {
			if s.Old == nil && !s.Restore {
				s.New.UID, s.New.GID = os.Geteuid(), os.Getegid()
			}
			dirs, err := n.missing(path.Dir(s.Path), made)
			if err != nil {
				return nil, err
			}
			all = append(all, dirs...)
			if s.New.Dir {
				made[s.Path] = true
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// missing returns the steps that make a directory and those above it.
func (n *Node) missing(dir string, made map[string]bool) ([]Step, error) {
	if dir == "/" || made[dir] {
		return nil, nil
	}
	info, err := n.disk.tree.Stat(n.disk.at(dir))
	switch {
	case err == nil && info.IsDir():
		return nil, nil
	case err == nil:
		return nil, fmt.Errorf("%s: a file is there instead of a directory; move it away", n.disk.at(dir))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, describe(err)
	}
	made[dir] = true
	above, err := n.missing(path.Dir(dir), made)
	step := Step{Path: dir, New: &File{Dir: true, Mode: 0o755, UID: os.Geteuid(), GID: os.Getegid()}}
	return append(above, step), err
}

// CarryOut makes the steps of a plan, and returns the commands that are left to
// run on the node: those of another root. Before the first change it records
// what is there, for undo. Killed anywhere, it can be run again.
func (n *Node) CarryOut(ctx context.Context, phase Phase, p Plan) (left [][]string, err error) {
	if len(p.Refusals) > 0 {
		return nil, errors.New("the plan was refused")
	}
	if len(p.Steps) == 0 {
		return nil, nil
	}
	r, err := n.record()
	if err != nil {
		return nil, err
	}
	if err := n.note(&r, phase, p); err != nil {
		return nil, err
	}
	return n.make(ctx, &r, p.Steps)
}

// make makes steps. A command is owed until it has been run.
func (n *Node) make(ctx context.Context, r *record, steps []Step) (left [][]string, err error) {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return left, err
		}
		switch {
		case s.Path != "":
			err = n.disk.put(s.Path, s.Old, s.New)
		case n.offline:
			left = append(left, s.Command)
			continue
		default:
			if err = n.disk.sync(); err == nil {
				err = n.command(ctx, r, s.Command)
			}
		}
		if err != nil {
			return left, err
		}
		if n.Made != nil {
			n.Made(s)
		}
	}
	return left, n.disk.sync()
}

// command runs a command, and forgets that it is owed.
func (n *Node) command(ctx context.Context, r *record, command []string) error {
	if err := n.disk.before("run", strings.Join(command, " ")); err != nil {
		return err
	}
	if err := n.run(ctx, command); err != nil {
		return err
	}
	r.Owed = slices.DeleteFunc(r.Owed, func(c []string) bool { return slices.Equal(c, command) })
	return n.writeRecord(*r)
}

func (n *Node) mkdirAll(dir string, mode fs.FileMode) error {
	if info, err := n.disk.tree.Stat(n.disk.at(dir)); err == nil && info.IsDir() {
		return nil
	}
	if err := n.disk.before("mkdir", dir); err != nil {
		return err
	}
	if err := n.disk.tree.MkdirAll(n.disk.at(dir), mode); err != nil {
		return describe(err)
	}
	return n.disk.syncDir(path.Dir(dir))
}
