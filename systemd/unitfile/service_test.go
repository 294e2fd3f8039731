package unitfile

import (
	"errors"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile/unitfiletest"
)

// tree is the files of a node by path.
type tree map[string]string

func (t tree) ReadFile(name string) ([]byte, error) {
	if text, ok := t[name]; ok {
		if text == "masked" {
			return nil, errors.New("this is a device, not a file")
		}
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (t tree) Glob(pattern string) ([]string, error) {
	var list []string
	for name := range t {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// TestReadCommand checks which of a service's files count, and how.
func TestReadCommand(t *testing.T) {
	const unit, etc, lib = "/x.service", "/etc/systemd/system", "/usr/lib/systemd/system"
	for name, c := range map[string]struct {
		files tree
		want  string // words, and unset variables in brackets; or the error
	}{
		"one file":              {tree{lib + unit: "[Unit]\nExecStart=/no\n[Service]\nExecStart=/x --a\n"}, "/x --a"},
		"the stronger":          {tree{lib + unit: "[Service]\nExecStart=/weak\n", etc + unit: "[Service]\nExecStart=/strong\n"}, "/strong"},
		"masked":                {tree{lib + unit: "[Service]\nExecStart=/weak\n", etc + unit: "masked"}, "file does not exist"},
		"masked by nothing":     {tree{lib + unit: "[Service]\nExecStart=/weak\n", etc + unit: ""}, "file does not exist"},
		"no unit":               {tree{etc + unit + ".d/a.conf": "[Service]\nExecStart=/x\n"}, "file does not exist"},
		"no command":            {tree{lib + unit: "[Service]\n"}, ""},
		"a drop-in":             {tree{lib + unit: "[Service]\nExecStart=/x\n", lib + unit + ".d/a.conf": "[Service]\nExecStart=\nExecStart=/y\n"}, "/y"},
		"two in order":          {tree{lib + unit: "[Service]\nExecStart=/x\n", etc + unit + ".d/a.conf": "[Service]\nExecStart=/y\n", lib + unit + ".d/b.conf": "[Service]\nExecStart=/z\n"}, "/z"},
		"two of a name":         {tree{lib + unit: "[Service]\nExecStart=/x\n", etc + unit + ".d/a.conf": "[Service]\nExecStart=/y\n", lib + unit + ".d/a.conf": "[Service]\nExecStart=/z\n"}, "/y"},
		"of every service":      {tree{lib + unit: "[Service]\nExecStart=/x $A\n", etc + "/service.d/a.conf": "[Service]\nEnvironment=A=1\n"}, "/x 1"},
		"a masked drop-in":      {tree{lib + unit: "[Service]\nExecStart=/x\n", etc + unit + ".d/a.conf": "masked", lib + unit + ".d/a.conf": "[Service]\nExecStart=/z\n"}, "/x"},
		"taken back":            {tree{lib + unit: "[Service]\nExecStart=/x\nExecStart=\n"}, ""},
		"over lines":            {tree{lib + unit: "[Service]\nExecStart=/x \\\n# no\n  --a \\\n\t--b\n"}, "/x --a --b"},
		"prefixes":              {tree{lib + unit: "[Service]\nExecStart=-+/x a\n"}, "/x a"},
		"another first word":    {tree{lib + unit: "[Service]\nExecStart=@/x name a\n"}, "/x a"},
		"no variables":          {tree{lib + unit: "[Service]\nExecStart=:/x $A ${A}\n"}, "/x $A ${A}"},
		"not set":               {tree{lib + unit: "[Service]\nExecStart=/x $A\n"}, "/x [A]"},
		"a file that is not":    {tree{lib + unit: "[Service]\nEnvironmentFile=-/e\nExecStart=/x $A\n"}, "/x [A]"},
		"a file by name":        {tree{lib + unit: "[Service]\nEnvironmentFile=-/d/%N\nExecStart=/x $A\n", "/d/x": "A=1"}, "/x 1"},
		"files of a pattern":    {tree{lib + unit: "[Service]\nEnvironmentFile=/d/*.env\nExecStart=/x $A $B\n", "/d/1.env": "A=1", "/d/2.env": "B=2"}, "/x 1 2"},
		"files taken back":      {tree{lib + unit: "[Service]\nEnvironmentFile=/e\nEnvironmentFile=\nExecStart=/x $A\n", "/e": "A=1"}, "/x [A]"},
		"variables taken back":  {tree{lib + unit: "[Service]\nEnvironment=A=1\nEnvironment=\nExecStart=/x $A\n"}, "/x [A]"},
		"several at once":       {tree{lib + unit: "[Service]\nEnvironment=A=1 \"B=2 3\"\nExecStart=/x $A $B\n"}, "/x 1 2 3"},
		"an unknown specifier":  {tree{lib + unit: "[Service]\nExecStart=/x %i\n"}, "is not supported"},
		"another section's":     {tree{lib + unit: "[Service]\nExecStart=/x $A\n[X]\nEnvironment=A=1\n"}, "/x [A]"},
		"a comment in the unit": {tree{lib + unit: "[Service]\n# ExecStart=/no\\\nExecStart=/x\n"}, "/x"},
	} {
		command, err := ReadCommand(c.files, "x.service")
		got := strings.Join(command.Argv, " ")
		if len(command.Unset) > 0 {
			got += " [" + strings.Join(command.Unset, " ") + "]"
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: ReadCommand = %q; want %q", name, got, c.want)
		}
	}
	for _, name := range []string{"", "../x.service"} {
		if c, err := ReadCommand(tree{}, name); err == nil {
			t.Errorf("ReadCommand(%q) = %v; want an error", name, c)
		}
	}
}

// TestArguments is what systemd 252 was seen to make of a line in an environment
// file and a word in ExecStart.
func TestArguments(t *testing.T) {
	for i, c := range unitfiletest.Lines {
		files := tree{"/lib/systemd/system/x.service": "[Service]\nEnvironmentFile=-/e\nExecStart=/x " + c.Words + "\n", "/e": c.File}
		got, err := ReadCommand(files, "x.service")
		if err != nil || !reflect.DeepEqual(got.Argv, append([]string{"/x"}, c.Want...)) {
			t.Errorf("%d: %q with %q gives %q, %v; want %q", i, c.Words, c.File, got.Argv, err, c.Want)
		}
	}
	// A file counts more than the unit, wherever either stands.
	for _, text := range []string{"Environment=A=--e\nEnvironmentFile=/e\n", "EnvironmentFile=/e\nEnvironment=A=--e\n"} {
		got, _ := ReadCommand(tree{"/lib/systemd/system/x.service": "[Service]\nExecStart=/x $A\n" + text, "/e": "A=--f"}, "x.service")
		if !slices.Equal(got.Argv, []string{"/x", "--f"}) {
			t.Errorf("%q gives %q", text, got.Argv)
		}
	}
	got, _ := ReadCommand(tree{"/lib/systemd/system/x.service": "[Service]\nExecStart=/x $A\nEnvironment=A=--x=10%%\n"}, "x.service")
	if !slices.Equal(got.Argv, []string{"/x", "--x=10%"}) {
		t.Errorf("a percent sign of the unit's gives %q", got.Argv)
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add([]byte("A=\"--x=1 \\\n--y\" '2\n#;\\\nB=\\"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name := range parseEnvironment(data) {
			if !isVariable(name) {
				t.Errorf("%q is set", name)
			}
		}
	})
}
