package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPlain holds that no control character reaches a terminal, however a text is cut
// into writes, and that all else does as it is.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"a\tb\n":                    "a\tb\n",
		"é “quoted” \u00a0x 漢\n":    "é “quoted” \u00a0x 漢\n",
		"\x1b]0;title\a\x1b[31mred": `\x1b]0;title\x07\x1b[31mred`,
		"over\rwritten\b\x7f":       `over\x0dwritten\x08\x7f`,
		"\u009b31m\u0080\u009f":     "\ufffd31m\ufffd\ufffd",
		"\u00c2\u00a9 ©":            "\u00c2\u00a9 ©",
		"\xc2\x1b":                  "\xc2\\x1b",
		"\xff\xfe":                  "\xff\xfe",
	} {
		for size := 1; size <= len(text)+1; size++ {
			var out bytes.Buffer
			w := &plain{w: &out}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if wrote, err := w.Write([]byte(rest[:n])); wrote != n || err != nil {
					t.Fatalf("%q: %d, %v; want %d", text, wrote, err, n)
				}
				rest = rest[n:]
			}
			if out.String() != want {
				t.Errorf("%q in writes of %d is %q; want %q", text, size, out.String(), want)
			}
			if utf8.ValidString(text) && !utf8.Valid(out.Bytes()) {
				t.Errorf("%q becomes what is not UTF-8", text)
			}
		}
	}
	if strings.ContainsFunc(usage, isControl) {
		t.Error("the help has control characters")
	}
}
