package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A screen is a terminal, or what stands for one.
type screen struct {
	w        io.Writer
	terminal bool
	shown    string // the line of progress
}

// progress draws one line over the last one.
func (s *screen) progress(name, text string) {
	if text == "" {
		text = "asking the registry"
	}
	line := name + "  " + text
	if len(line) > 79 { // the end says more than the name
		line = "…" + line[len(line)-78:]
	}
	if line != s.shown {
		s.shown = line
		fmt.Fprintf(s.w, "\r\x1b[K%s", line)
	}
}

// clear removes the line of progress.
func (s *screen) clear() {
	if s.shown != "" {
		s.shown = ""
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

func (s *screen) line(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
