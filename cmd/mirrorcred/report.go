package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// report returns an error for a person at a terminal: a fault of the node in its four
// parts, anything else as it is. The first line comes after another word.
func report(err error, width int) string {
	var lines []string
	var last fault.Fault
	for _, one := range fault.Each(err) {
		var f *fault.Fault
		if !errors.As(one, &f) {
			lines, last = append(lines, one.Error()), fault.Fault{}
			continue
		}
		if last.What != "" && f.What == last.What && f.Until == last.Until { // the same is said once
			lines = lines[:len(lines)-len(part("until", last.Until, width))]
		} else {
			lines = append(lines, f.What)
		}
		lines = append(lines, parts(*f, width)...)
		last = *f
	}
	return strings.Join(lines, "\n")
}

// parts returns what was found, what to do, and what happens until then.
func parts(f fault.Fault, width int) []string {
	return slices.Concat(part("found", f.Seen(), width), part("fix", f.Fix, width), part("until", f.Until, width))
}

// part returns the lines of a part below what is wrong, none if there is no text.
func part(label, text string, width int) []string {
	if text == "" {
		return nil
	}
	return fold(fmt.Sprintf("  %-7s", label), text, width)
}

// widest is how many columns a line for a terminal has at most.
const widest = 100

// lineWidth returns how many columns the lines on a file have. Only those on a terminal
// are folded: a program looks for whole lines in a file or a pipe.
func lineWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return math.MaxInt
	case size.Col == 0:
		return widest
	}
	return min(int(size.Col), widest)
}

// fold returns a text in lines of at most so many columns, the first after a label and
// the others below its text. A longer word, such as a path, is not cut, and neither is a
// command, so that it can be copied.
func fold(label, text string, width int) []string {
	var lines []string
	line, isEmpty := label, true
	for _, word := range foldable(text) {
		if !isEmpty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line, isEmpty = strings.Repeat(" ", len(label)), true
		}
		if !isEmpty {
			line += " "
		}
		line, isEmpty = line+word, false
	}
	return append(lines, line)
}

// foldable returns the words of a text. A command that ends it is one of them.
func foldable(text string) []string {
	const run = "run: "
	before, command, isThere := strings.Cut(text, run)
	if !isThere {
		return strings.Fields(text)
	}
	return append(strings.Fields(before+run), command)
}
