package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A Fault is one thing wrong in a map: where it is, what it is and, after a
// semicolon, what to write instead.
type Fault struct {
	File string
	Line int // from 1; 0 where the fault is the file's as a whole
	Text string
}

// Error returns the fault as file:line: text.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// faults collects a map's faults.
type faults struct {
	file string
	list []*Fault
}

func (f *faults) add(line int, format string, args ...any) {
	f.list = append(f.list, &Fault{File: f.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// err returns the faults in the order of their lines as one error, each of
// them a [Fault] and none of them twice, or nil.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	f.list = slices.CompactFunc(f.list, func(a, b *Fault) bool { return *a == *b })
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}
