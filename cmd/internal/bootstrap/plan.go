// Package bootstrap sets up a node for mirrorcred: the containerd half while an image is
// baked, the kubelet half when the node joins, and undo for both.
//
// Each phase is planned first. Planning is pure: it takes what was observed on the
// node as a value, and returns steps or refusals. [Node.CarryOut] makes the steps,
// and records before the first one what each file held, so that undo can put it
// back. The mirrors themselves (routes, hosts.toml, the kubelet's providers) are
// the work of package node. Start at [Plan].
package bootstrap

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
)

// A Phase is one half of the setup.
type Phase string

// The phases. [Joining.Undo] reverts them in an order of its own.
const (
	Bake  Phase = "bake"  // containerd's half
	Join  Phase = "join"  // the kubelet's half: the programs
	Flags Phase = "flags" // the kubelet's half: its flags, once the map is applied
)

// A Plan is what a phase does on a node, or why it does nothing.
type Plan struct {
	Steps []Step
	// Refusals are why nothing is done. If there are any, Steps is not carried out.
	Refusals []Refusal
	// Waiting says what cannot be done now, and what it waits for.
	Waiting []string
	// Notes tell the operator what else to know, such as which program rewrites a
	// file, and when.
	Notes []string
}

// A Step is one change of a file, or one command.
type Step struct {
	// Text says in a few words what the step is for.
	Text string

	// Path is the file on the node, "" for a command. Old is what is there now,
	// and New what will be; nil means that nothing is there.
	Path     string
	Old, New *File
	// Part says how undo removes mirrorcred's part from a file that another program has
	// edited since; "" means that undo leaves such a file alone.
	Part Part
	// Restore makes undo put Old back even if the file is gone by then. It is set for
	// an adopted hosts.toml, which mirrorcred itself removes first.
	Restore bool

	// Command is the command line, which is run on the machine itself only.
	Command []string
}

// A File is a regular file, a directory or a symbolic link.
type File struct {
	Data     []byte      // of a regular file
	Link     string      // where a symbolic link leads, "" for other files
	Dir      bool        // it is a directory
	Mode     fs.FileMode // permission bits; not those of a link
	UID, GID int
}

// equal reports whether two files are the same, or both nil. It does not compare
// what a directory holds.
func (f *File) equal(g *File) bool {
	if f == nil || g == nil {
		return f == g
	}
	return f.Dir == g.Dir && f.Link == g.Link && bytes.Equal(f.Data, g.Data) &&
		(f.Link != "" || f.Mode == g.Mode) && f.UID == g.UID && f.GID == g.GID
}

// with returns a file with other bytes and the same mode and owner. A nil file
// gets the mode and belongs to root.
func (f *File) with(data []byte, mode fs.FileMode) *File {
	if f == nil {
		return &File{Data: data, Mode: mode}
	}
	return &File{Data: data, Mode: f.Mode, UID: f.UID, GID: f.GID}
}

// A Refusal is a setting of another program that must change first.
type Refusal struct {
	File   string // on the node, or ""
	Line   int    // 0 if it is not about one line
	Text   string
	Repair string
}

// String returns the place, the text and the repair in one line.
func (r Refusal) String() string {
	var b strings.Builder
	b.WriteString(r.File)
	if r.Line > 0 {
		fmt.Fprintf(&b, ":%d", r.Line)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(r.Text)
	if r.Repair != "" {
		b.WriteString("; " + r.Repair)
	}
	return b.String()
}

// IsDir reports whether the step makes or removes a directory for other steps.
func (s Step) IsDir() bool {
	return s.New != nil && s.New.Dir || s.New == nil && s.Old != nil && s.Old.Dir
}

// String returns the step in one line, without its root.
func (s Step) String() string {
	switch {
	case s.Path == "":
		return "run      " + strings.Join(s.Command, " ")
	case s.New == nil:
		return "remove   " + s.Path + s.about()
	case s.Old == nil:
		return "create   " + s.Path + s.about()
	}
	return "change   " + s.Path + s.about()
}

func (s Step) about() string {
	if s.Text == "" {
		return ""
	}
	return ": " + s.Text
}

// A Part names a way to remove mirrorcred's part from a file.
type Part string

// parts are the functions that do that. Each returns the file without mirrorcred's part:
// unchanged if that is no longer in it, and nil if nothing else is.
var parts = map[Part]func(data []byte) ([]byte, error){}

// refuse adds a refusal, if there is one.
func (p *Plan) refuse(r *Refusal) {
	if r != nil {
		p.Refusals = append(p.Refusals, *r)
	}
}
