package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// report returns an error for a person at a terminal: a fault of the node in its four
// parts, anything else as it is. The first line comes after another word.
func report(err error, width int) string {
	return strings.Join(reportAll(fault.List(err), "", "  ", width), "\n")
}

// reportAll returns the lines of faults, what is wrong after a label and the rest after
// an indent. What several in a row have in common is there once.
func reportAll(list []fault.Fault, label, indent string, width int) []string {
	var lines []string
	for i, f := range list {
		if i == 0 || !isAlike(list[i-1], f) {
			lines = append(lines, label+f.What)
		}
		if i+1 < len(list) && isAlike(f, list[i+1]) {
			f.Until = ""
		}
		lines = append(lines, parts(f, indent, width)...)
	}
	return lines
}

// isAlike reports whether two faults differ only in what was found and what to do.
func isAlike(a, b fault.Fault) bool {
	return a.What == b.What && a.Until == b.Until && a.Seen() != "" && b.Seen() != ""
}

// parts returns what was found, what to do, and what happens until then.
func parts(f fault.Fault, indent string, width int) []string {
	until := "until"
	if f.Fix == "" {
		until = "then" // it ends by itself
	}
	var lines []string
	for _, part := range [][2]string{{"found", f.Seen()}, {"fix", f.Fix}, {until, f.Until}} {
		label := fmt.Sprintf("%s%-7s", indent, part[0])
		if command, is := strings.CutPrefix(part[1], commandMark); is {
			lines = append(lines, label+command)
		} else if part[1] != "" {
			lines = append(lines, fold(label, part[1], width)...)
		}
	}
	return lines
}

// widthOf returns [lineWidth] of what a writer writes to in the end.
func widthOf(w io.Writer) int {
	switch w := w.(type) {
	case *os.File:
		return lineWidth(w)
	case *plain:
		return widthOf(w.w)
	case *backlog:
		return w.width
	}
	return math.MaxInt
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

// commandMark comes before a command that ends a text.
const commandMark = "run: "

// foldable returns the words of a text. A command that ends it is one of them.
func foldable(text string) []string {
	before, command, isThere := strings.Cut(text, commandMark)
	if !isThere {
		return strings.Fields(text)
	}
	return append(strings.Fields(before+commandMark), command)
}
