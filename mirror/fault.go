package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A Fault is one thing that is wrong in a map: where it is, what it is and,
// after a semicolon, what to write instead.
type Fault struct {
	File string
	Line int // from 1; 0 if the fault is not on one line
	Text string
	// Name is a stable name, such as [NotAnACRHost], for faults that scripts recognise;
	// "" for most.
	Name string
}

// NotAnACRHost is the name of the fault that an Azure credential is for a host that is
// not an ACR login server, as "mirrorcred check" reports it (docs/check.md).
const NotAnACRHost = "not-an-acr-host"

// Error returns the fault as file:line: text.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Fault returns a fault that shows only when the map is used, such as a missing
// file that the map names. Line 0 means the map as a whole.
func (m *Map) Fault(line int, format string, args ...any) *Fault {
	return &Fault{File: m.file, Line: line, Text: fmt.Sprintf(format, args...)}
}

// faults collects a map's faults.
type faults struct {
	file string
	list []*Fault
	// asked, if not nil, is called for each key that the parser knows, with the
	// table that it may be in.
	asked func(table, key string)
}

// add adds a fault. It never repeats a string of the map that may hold a
// password.
func (f *faults) add(line int, format string, args ...any) {
	f.list = append(f.list, &Fault{File: f.file, Line: line, Text: visible(fmt.Sprintf(format, redact(args)...))})
}

// mostText is the longest text of a fault, in bytes.
const mostText = 2 << 10

// visible writes out what a terminal would act on, such as control characters in the
// name of a key, and shortens a very long text.
func visible(text string) string {
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	if !strings.ContainsFunc(text, isInvisible) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if quoted := strconv.QuoteRune(r); isInvisible(r) {
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isInvisible(r rune) bool { return !unicode.IsPrint(r) }

// name gives the fault that was added last its name.
func (f *faults) name(name string) { f.list[len(f.list)-1].Name = name }

// redact replaces the strings that may hold a password.
func redact(args []any) []any {
	args = slices.Clone(args)
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String && mayHoldPassword(v.String()) {
			args[i] = "…"
		}
	}
	return args
}

// mayHoldPassword reports whether a string of the map is, or was meant as, a URL
// with more in it than a host and a path: a user and a password before an "@", a
// token in a query or a fragment.
func mayHoldPassword(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '@' || c == '?' || c == '#' {
			return true
		}
	}
	return false
}

// errMore returns the fault of such a URL, without repeating any of it.
func errMore(what, s string) error {
	switch {
	case !mayHoldPassword(s):
		return nil
	case strings.Contains(s, "@"):
		return fmt.Errorf("%s has no user, password or digest; remove what belongs to the \"@\", and name a credential under [registry] instead", what)
	}
	return fmt.Errorf("%s has no query and no fragment; remove what begins with \"?\" or \"#\"", what)
}

// mostFaults is how many faults are told: all of them go into the log and to
// everybody who asks for the status.
const mostFaults = 1000

// err returns the faults in the order of their lines as one error, each of
// them a [Fault] and none of them twice, or nil.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	f.list = slices.CompactFunc(f.list, func(a, b *Fault) bool { return *a == *b })
	if more := len(f.list) - mostFaults; more > 0 {
		f.list = append(f.list[:mostFaults], &Fault{File: f.file, Text: fmt.Sprintf("there are %d more faults; repair these first", more)})
	}
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}
