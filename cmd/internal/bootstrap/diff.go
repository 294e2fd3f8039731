package bootstrap

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// secret matches a setting with a value that only root may see: the logins and headers of
// registries.
var secret = regexp.MustCompile(`(?im)^([^\n=:]*(?:auth|password|passwd|token|secret|header|api.?key)[^\n=:]*[=:]).*$`)

// login matches the user and password in a URL, such as that of a proxy.
var login = regexp.MustCompile(`://[^/\s"'@]+@`)

// own matches what mirrorcred writes into files of other programs: lines of
// containerd's configuration, and the kubelet's flags.
var (
	ownLine = regexp.MustCompile(`^\s*(?:# mirrorcred (?:begin|end)\b.*|(?:# was:\s*)?config_path\s*=.*)$`)
	ownWord = regexp.MustCompile(`--image-credential-provider-(?:config|bin-dir)[= ][^\s"']*`)
)

// Diff returns a step's change of a file as a unified diff; "" for a command and for a
// directory. It leaves out values that look like secrets.
func (s Step) Diff() string {
	if s.Path == "" || s.IsDir() {
		return ""
	}
	before, after := "a"+s.Path, "b"+s.Path
	if s.Old == nil {
		before = "/dev/null"
	}
	if s.New == nil {
		after = "/dev/null"
	}
	old, next := s.Old.text(), s.New.text()
	if old == next {
		next += "(only what is not shown differs: a secret, a program, the mode or the owner)\n"
	}
	return udiff.Unified(before, after, old, next)
}

// text returns what a diff shows of a file.
func (f *File) text() string {
	switch {
	case f == nil:
		return ""
	case f.Dir:
		return fmt.Sprintf("(a directory, mode %04o)\n", f.Mode.Perm())
	case f.Link != "":
		return "(a link to " + f.Link + ")\n"
	case bytes.IndexByte(f.Data, 0) >= 0 || len(f.Data) > longest:
		return fmt.Sprintf("(not text, %d bytes, mode %04o)\n", len(f.Data), f.Mode.Perm())
	}
	text := string(f.Data)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if f.isClosed() {
		return closedText(text)
	}
	return login.ReplaceAllString(secret.ReplaceAllString(text, "$1 (not shown)"), "://(not shown)@")
}

// isClosed reports whether a file is not for every user of the node to read.
func (f *File) isClosed() bool { return f.Mode&0o004 == 0 }

// closedText returns what a diff shows of a file that not every user may read: its
// lines without their words, but for those that mirrorcred writes. The output of a
// script that sets up a node is often kept where others can read it.
func closedText(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch words := ownWord.FindAllString(line, -1); {
		case line == "", ownLine.MatchString(line):
			b.WriteString(line + "\n")
		default:
			b.WriteString(strings.Join(append([]string{"(not shown)"}, words...), " ") + "\n")
		}
	}
	return b.String()
}

// longest is the size in bytes up to which a file is shown. A longer one is a program.
const longest = 256 << 10
