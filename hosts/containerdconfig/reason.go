package containerdconfig

import (
	"fmt"
	"strings"
)

// A Reason says why pulls do not use a directory, and the one edit that repairs
// it.
type Reason struct {
	Name   string // stable, such as PathUnset, or ""
	File   string // the file to look at, or ""
	Line   int    // 0 if it is not about one line
	Table  string // or ""
	What   string // what is wrong, as a sentence without a full stop
	Text   string // what stands there
	Repair string // what to write, in which file
}

// The names of reasons, as "mirrorcred check" reports them. docs/check.md says what each
// means.
const (
	PathUnset      = "config-path-unset"
	PathList       = "config-path-list"
	PathOther      = "config-path-other"
	PathOverridden = "config-path-overridden"
	WrongTable     = "wrong-table-for-version"
	OldTableWins   = "old-table-wins"
	VersionMixed   = "version-mixed"
	MirrorsBeside  = "mirrors-beside-config-path"
	CRIDisabled    = "cri-disabled"
	CRIFails       = "cri-does-not-load"
	ImportMissing  = "import-missing"
	DoesNotStart   = "containerd-does-not-start"
	NotReadable    = "not-looked-at" // by this user
)

// String returns the place, the text and the repair in one line.
func (r *Reason) String() string {
	var b strings.Builder
	b.WriteString(r.File)
	if r.Line > 0 {
		fmt.Fprintf(&b, ":%d", r.Line)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(r.What + ": " + r.Found())
	if r.Repair != "" {
		b.WriteString("; " + r.Repair)
	}
	return b.String()
}

// Found returns what stands at the place, after the name of its table.
func (r *Reason) Found() string {
	if r.Table == "" {
		return r.Text
	}
	return "[" + r.Table + "] " + r.Text
}

// A StartError says why containerd does not start with these files, or that this user
// may not read them (NotReadable).
type StartError struct {
	Reason
	cause error
}

// Error returns the reason in one line.
func (e *StartError) Error() string { return e.String() }

// Unwrap returns the error of reading a file, if that is the cause.
func (e *StartError) Unwrap() error { return e.cause }

func (l *load) reason(at Position, what, repair, text string) *Reason {
	return &Reason{File: at.File, Line: at.Line, Table: at.Table, What: what, Text: text, Repair: repair}
}

func (r *Reason) named(name string) *Reason {
	r.Name = name
	return r
}

// noCRI says why the CRI does not load.
func (l *load) noCRI(at Position, repair, text string) *Reason {
	return l.reason(at, "the CRI plugin of "+l.line.String()+" does not load, so the kubelet can pull no image", repair, text).named(CRIFails)
}

func (l *load) noStart(at Position, repair, text string) *StartError {
	e := &StartError{Reason: *l.reason(at, l.line.String()+" does not start with its configuration", repair, text)}
	e.Name = DoesNotStart
	return e
}
