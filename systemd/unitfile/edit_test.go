package unitfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile/unitfiletest"
)

var flags = []string{"--image-credential-provider-config=/v/c.yaml", "--image-credential-provider-bin-dir=/v/b"}

// argv is what a kubelet with "$A" gets by an environment file.
func argv(t *testing.T, file []byte, words string) []string {
	t.Helper()
	c, err := ReadCommand(tree{"/lib/systemd/system/x.service": "[Service]\nEnvironmentFile=-/e\nExecStart=/x " + words + "\n", "/e": string(file)}, "x.service")
	if err != nil {
		t.Fatal(err)
	}
	return c.Argv
}

// TestSetWords shows how a file changes, byte for byte.
func TestSetWords(t *testing.T) {
	const f, d = "--image-credential-provider-config=/v/c.yaml", "--image-credential-provider-bin-dir=/v/b"
	for file, want := range map[string]string{
		"":                                "A=\"" + f + " " + d + "\"\n",
		"A=":                              "A=" + f + " " + d,
		"A=\n":                            "A=" + f + " " + d + "\n", // kubeadm's packages
		"A=\"\"\n":                        "A=\"" + f + " " + d + "\"\n",
		"A=--x=1\r\nB=2\r\n":              "A=--x=1 " + f + " " + d + "\r\nB=2\r\n",
		"A=\"--x=1 --y=2\" \n":            "A=\"--x=1 --y=2 " + f + " " + d + "\" \n",
		"A='--x=1'\nB=\n":                 "A='--x=1 " + f + " " + d + "'\nB=\n",
		"A=--x=1\nA=--y=2\n":              "A=--x=1\nA=--y=2 " + f + " " + d + "\n",
		"A=\"--x=1 \\\n--y=2 \\\n\"\n":    "A=\"--x=1 \\\n--y=2 \\\n " + f + " " + d + "\"\n", // kubespray
		"A=\"--x=1\" --y=2\n":             "A=\"--x=1--y=2 " + f + " " + d + "\"\n",
		"A=\"--x=it's --y=2\"\n":          "A=\"--x=its\\\\ --y=2 " + f + " " + d + "\"\n",
		"A=--x=\"a b\"\n":                 "A=--x=\"a b\" " + f + " " + d + "\n",
		"A=\"--x={\\\"k\\\":\\\"v\\\"}\"": "A=\"--x={\\\"k\\\":\\\"v\\\"} " + f + " " + d + "\"",
		"# a comment\nexport A=--x=1":     "# a comment\nexport A=--x=1\nA=\"" + f + " " + d + "\"\n",
		"A=\"--x=1\nB=2\n":                "error",
		"# the end \\":                    "error",
	} {
		have, _ := Words([]byte(file), "A")
		got, err := SetWords([]byte(file), "A", slices.Concat(have, flags))
		if err != nil {
			got = []byte("error")
		}
		if string(got) != want {
			t.Errorf("SetWords(%q) = %q, %v; want %q", file, got, err, want)
		}
	}
}

// TestRemovedWordsRestoreFile shows that words which are taken out again leave the file as it
// was, or at least its meaning; and that some are exchanged in place.
func TestRemovedWordsRestoreFile(t *testing.T) {
	for _, c := range []struct {
		file, want string
		words      []string
	}{
		{"A=--a=1 --b=2\n", "A=--b=2\n", []string{"--b=2"}},
		{"A=\"--a=1 --b=2\"\n", "A=\"--a=1\"\n", []string{"--a=1"}},
		{"A=\"--a=1 --b=2\"\n", "A=\"--a=1 --b=3\"\n", []string{"--a=1", "--b=3"}},
		{"A=--a=1\n", "A=\n", nil},
		{"A=--a=1 --a=1\n", "A=\"--a=1\"\n", []string{"--a=1"}},
		{"A=--a=1 --b=\"x y\"\n", "A=--b=\"x y\"\n", []string{"--b=x y"}},
	} {
		got, err := SetWords([]byte(c.file), "A", c.words)
		if err != nil || string(got) != c.want {
			t.Errorf("SetWords(%q, %q) = %q, %v; want %q", c.file, c.words, got, err, c.want)
		}
	}
}

// TestSetWordsLines adds the flags to each of the lines that systemd was seen to
// read: the command gets its old arguments and the flags, or the file is refused.
func TestSetWordsLines(t *testing.T) {
	refused := 0
	for _, l := range unitfiletest.Lines {
		if !slices.Contains([]string{"$A", "x $A y", `"$A"`, "'$A'"}, l.Words) {
			continue // the value is not split there
		}
		have, _ := Words([]byte(l.File), "A")
		got, err := SetWords([]byte(l.File), "A", slices.Concat(have, flags))
		if err != nil {
			refused++
			continue
		}
		want := argv(t, []byte(l.File), l.Words)
		at := slices.Index(want, "y")
		if at < 0 {
			at = len(want)
		}
		if after := argv(t, got, l.Words); !slices.Equal(after, slices.Insert(want, at, flags...)) {
			t.Errorf("%q becomes %q: %q; want %q and the flags", l.File, got, after, want)
		}
	}
	if refused != 1 {
		t.Errorf("%d lines are refused; want the one whose quote does not end", refused)
	}
}

// TestSetWordsPlain refuses what would mean something else somewhere.
func TestSetWordsPlain(t *testing.T) {
	for _, word := range []string{"", "a b", "a\tb", "a\nb", `a"b`, "a'b", `a\b`, "a$b", "a%b", "a`b", "a\x00b", "a;b", "a\u00e9b"} {
		if got, err := SetWords([]byte("A=--x\n"), "A", []string{"--x", word}); err == nil {
			t.Errorf("SetWords with %q = %q; want an error", word, got)
		}
	}
	if got, err := SetWords(nil, "A B", flags); err == nil {
		t.Errorf("SetWords of a name with a blank = %q; want an error", got)
	}
}

// TestSetWordsText refuses a file from which systemd takes nothing: the words would
// never reach the program. In a comment it reads any bytes but NUL.
func TestSetWordsText(t *testing.T) {
	for file, want := range map[string]string{
		"A=--x\n# \xff\n":         "",
		"A=--x\n;\xff":            "",
		"A=--x\xc3\xa9\n":         "",
		"A=--x\nB=\xff\n":         "line 2 is not UTF-8",
		"B=1\nA=\"\n\xff\"\nC=\n": "line 3 is not UTF-8",
		"A=--x\nB\xff=1":          "line 2 is not UTF-8",
		"A=--x\n# \x00\n":         "line 2 has a NUL byte",
		"A=--x\x00":               "line 1 has a NUL byte",
	} {
		_, err := SetWords([]byte(file), "A", []string{"--x", "--y"})
		if got := fmt.Sprint(err); want == "" && strings.Contains(got, "UTF-8") || want != "" && !strings.Contains(got, want+", so systemd takes nothing") {
			t.Errorf("%q: %v; want %q", file, err, want)
		}
	}
}

// TestSetWordsRandom holds for files of any bytes: the variable has the words
// asked for, all others have what they had, or there is an error.
func TestSetWordsRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{"A", "B", "=", "=", "A=", "\nA=", "\nB=", "\"", "'", "\\", "\n", "\r\n", " ", "\t", "#", ";", "$", "`", "%", "--x=1", "--y", "é", "\ufeff"}
	changed := 0
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(14) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		if checkSetWords(t, []byte(b.String()), random.IntN(3)) {
			changed++
		}
	}
	if changed < 10_000 {
		t.Errorf("only %d of the files could be changed", changed)
	}
}

// checkSetWords adds the flags (0), takes the first word out (1) or exchanges it
// (2), and reports whether that could be done.
func checkSetWords(t *testing.T, file []byte, what int) bool {
	t.Helper()
	want, _ := Words(file, "A")
	switch {
	case what == 0 || len(want) == 0:
		want = slices.Concat(want, flags)
	case what == 1:
		want = want[1:]
	default:
		want = slices.Concat([]string{flags[0]}, want[1:])
	}
	before := bytes.Clone(file)
	got, err := SetWords(file, "A", want)
	if !bytes.Equal(before, file) {
		t.Fatalf("%q was changed itself", before)
	}
	if err != nil {
		return false
	}
	if words, _ := Words(got, "A"); !slices.Equal(words, want) {
		t.Fatalf("%q becomes %q: %q; want %q", file, got, words, want)
	}
	old, now := parseEnvironment(file), parseEnvironment(got)
	for name := range now {
		if name != "A" && old[name] != now[name] {
			t.Fatalf("%q becomes %q: %s was %q, is %q", file, got, name, old[name], now[name])
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			t.Fatalf("%q becomes %q: %s is gone", file, got, name)
		}
	}
	again, err := SetWords(got, "A", want)
	if err != nil || !bytes.Equal(again, got) {
		t.Fatalf("the second time %q becomes %q, %v", got, again, err)
	}
	return true
}

func FuzzSetWords(f *testing.F) {
	for _, l := range unitfiletest.Lines {
		f.Add([]byte(l.File), 0)
	}
	f.Add([]byte("A='--x=1' \\\n--y \nB=\"\\\""), 2)
	f.Fuzz(func(t *testing.T, file []byte, what int) { checkSetWords(t, file, what&3) })
}
