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
	Text   string // what this containerd does with it
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
	if r.Table != "" {
		fmt.Fprintf(&b, "[%s] ", r.Table)
	}
	b.WriteString(r.Text)
	if r.Repair != "" {
		b.WriteString("; " + r.Repair)
	}
	return b.String()
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

func (l *load) reason(at Position, repair, text string) *Reason {
	return &Reason{File: at.File, Line: at.Line, Table: at.Table, Text: text, Repair: repair}
}

func (r *Reason) named(name string) *Reason {
	r.Name = name
	return r
}

func (l *load) noStart(at Position, repair, text string) *StartError {
	e := &StartError{Reason: *l.reason(at, repair, text+", so "+l.line.String()+" does not start")}
	e.Name = DoesNotStart
	return e
}
