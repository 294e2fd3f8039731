// Package fault has the one form in which mirrorcred reports what is wrong with a
// node: what it is, what was found and where, what to do, and what happens until
// then.
//
// It knows no faults, and does not print them: each package reports its own, and the
// command line prints a line for each part. Start at [Fault].
package fault

import (
	"errors"
	"strings"
)

// A Fault is one thing that is wrong with a node.
type Fault struct {
	// Name is the stable name of the finding that "mirrorcred check" reports for it, or
	// "".
	Name string `json:"name,omitempty"`
	// What is what is wrong, as a sentence without a full stop.
	What string `json:"what,omitempty"`
	// Where is the file with its line, or the directory or socket, and Found is what is
	// there. Each may be "".
	Where string `json:"where,omitempty"`
	Found string `json:"found,omitempty"`
	// Fix is what to write and to run, or "". A command stands at the end, after
	// "run: ".
	Fix string `json:"fix,omitempty"`
	// Until is what happens until that is done, or "".
	Until string `json:"until,omitempty"`
	// Cause is the error that led to the fault, nil if there is none.
	Cause error `json:"-"`
}

// Error returns the fault in one line, for a log: what is wrong, what was found and what
// to do.
func (f *Fault) Error() string { return join("; ", join(": ", f.What, f.Seen()), f.Fix) }

// Whole returns the fault in one line, with what happens until then.
func (f *Fault) Whole() string { return join("; ", f.Error(), f.Until) }

// None reports whether nothing is wrong.
func (f *Fault) None() bool { return f.What == "" && f.Found == "" }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// Seen returns what was found, after its place.
func (f *Fault) Seen() string { return join(": ", f.Where, f.Found) }

// Text returns what is wrong and what was found, without the place.
func (f *Fault) Text() string { return join(": ", f.What, f.Found) }

// Then returns the fix with another one after it.
func (f *Fault) Then(next string) string { return join(", then ", f.Fix, next) }

// Of returns a copy of the fault that an error is or wraps. Of another error it is known
// what was found, and what to do.
func Of(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		copied := *f
		return &copied
	}
	found, fix := Split(err.Error())
	return &Fault{Found: found, Fix: fix, Cause: err}
}

// Split returns the two parts of an error of a package that knows no faults: what is
// wrong and, after a semicolon, what to do. It is for where such an error comes in.
func Split(text string) (found, fix string) {
	found, fix, _ = strings.Cut(text, "; ")
	return found, fix
}

// Each returns the single errors of joined ones, or the error itself; nothing for nil.
func Each(err error) []error {
	if err == nil {
		return nil
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if _, is := inner.(*Fault); is {
			break
		}
		if many, ok := inner.(interface{ Unwrap() []error }); ok {
			var list []error
			for _, one := range many.Unwrap() {
				list = append(list, Each(one)...)
			}
			return list
		}
	}
	return []error{err}
}

// List returns the faults of an error, without their causes. An error that is not a fault
// becomes one with all of its text in What.
func List(err error) []Fault {
	var list []Fault
	for _, one := range Each(err) {
		var f *Fault
		if !errors.As(one, &f) {
			f = &Fault{What: one.Error()}
		}
		without := *f
		without.Cause = nil
		list = append(list, without)
	}
	return list
}

// join joins the parts that are not "".
func join(by string, parts ...string) string {
	var list []string
	for _, part := range parts {
		if part != "" {
			list = append(list, part)
		}
	}
	return strings.Join(list, by)
}
