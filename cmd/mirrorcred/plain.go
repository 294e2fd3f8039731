package main

import (
	"bytes"
	"fmt"
	"io"
)

// A plain is a writer that a terminal can be given: in what other programs and users
// chose, such as the names of files, a terminal obeys no control character. Those of
// ASCII but tab and newline are written as "\x1b", and those of Unicode, which JSON
// does not escape, as U+FFFD.
type plain struct {
	w io.Writer
	// half says that the last write ended within a character.
	half bool
}

// Write writes p, and returns len(p) if all of it was taken.
func (t *plain) Write(p []byte) (int, error) {
	if !t.half && !bytes.ContainsFunc(p, isControl) && !bytes.HasSuffix(p, []byte{0xc2}) {
		return t.w.Write(p)
	}
	var out []byte
	for _, c := range p {
		switch {
		case t.half && c >= 0x80 && c < 0xa0:
			out = append(out, "\ufffd"...)
			t.half = false
			continue
		case t.half:
			out = append(out, 0xc2)
			t.half = false
		}
		switch {
		case c == 0xc2:
			t.half = true
		case isControl(rune(c)) && c < 0x80:
			out = fmt.Appendf(out, "\\x%02x", c)
		default:
			out = append(out, c)
		}
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// isControl reports whether a terminal may obey a character.
func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
}
