package hosts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// secrets are what the header files of the maps in testdata hold.
var secrets = map[string]string{"/etc/mirrorcred/harbor.header": `Basic "aGFyYm9y"`}

func renderText(text string) ([]File, error) {
	m, err := mirror.Parse("mirrors.toml", []byte(text))
	if err != nil {
		return nil, err
	}
	v, err := ParseVersion(m.Containerd.Version)
	if err != nil {
		return nil, err
	}
	return Render(m, Options{Version: v, Secrets: secrets})
}

// TestRenderGolden holds the files of some maps to the byte: testdata/render.txt
// has each tree, or the error, below its map.
func TestRenderGolden(t *testing.T) {
	const name = "testdata/render.txt"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), "=== ")
	for i, part := range parts[1:] {
		text, _, ok := strings.Cut(part, "--- tree\n")
		if !ok {
			t.Fatalf("no \"--- tree\" in %q", part)
		}
		title, toml, _ := strings.Cut(text, "\n")
		tree := ""
		files, err := renderText(toml)
		if err != nil {
			tree = "error: " + err.Error() + "\n\n"
		}
		for _, f := range files {
			tree += fmt.Sprintf("> %s/%s secret=%v\n%s\n", f.Namespace, FileName, f.Secret, f.Data)
		}
		parts[i+1] = title + "\n" + toml + "--- tree\n" + tree
	}
	got := strings.Join(parts, "=== ")
	if got == string(data) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s differs; run with UPDATE=1 and look at the difference. Got:\n%s", name, got)
	}
	if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRenderSecrets(t *testing.T) {
	m, err := mirror.Parse("mirrors.toml", []byte("version = 1\n[registry.\"h.io\"]\nheader = { A = { file = \"/f\" } }\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		secrets map[string]string
		want    string
	}{
		{nil, "mirrors.toml:3: header A: its file /f was not read"},
		{map[string]string{"/f": "CANARY\n"}, "mirrors.toml:3: header A: its file /f holds a control character or is not UTF-8; write the value alone, in one line"},
		{map[string]string{"/f": "CANARY\xff"}, "mirrors.toml:3: header A: its file /f holds a control character or is not UTF-8; write the value alone, in one line"},
	} {
		if _, err := Render(m, Options{Secrets: test.secrets}); err == nil || err.Error() != test.want {
			t.Errorf("Render with secrets %q = %v; want %s", test.secrets, err, test.want)
		}
	}
}

// TestOwnerOfDamagedFile damages a file in each way that a torn write or a flipped bit can.
func TestOwnerOfDamagedFile(t *testing.T) {
	files, err := renderText("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"m.example/p\", \"docker.io\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	data := files[0].Data
	if got := OwnerOf(data); got != Ours {
		t.Errorf("Whose(rendered) = %d; want Ours", got)
	}
	damaged := func(at int) Owner {
		if at < len(headerPrefix) {
			return Foreign
		}
		return Edited
	}
	for i := range data {
		if got, want := OwnerOf(data[:i]), damaged(i); got != want {
			t.Errorf("Whose(the first %d bytes) = %d; want %d", i, got, want)
		}
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if got, want := OwnerOf(flipped), damaged(i); got != want {
				t.Errorf("Whose(bit %d of byte %d flipped) = %d; want %d", bit, i, got, want)
			}
		}
	}
	for _, foreign := range []string{"", "\n", "server = \"https://m\"\n", " " + string(data)} {
		if got := OwnerOf([]byte(foreign)); got != Foreign {
			t.Errorf("Whose(%q) = %d; want Foreign", foreign, got)
		}
	}
	if got := OwnerOf(append(bytes.Clone(data), '\n')); got != Edited {
		t.Errorf("Whose(one more line) = %d; want Edited", got)
	}
}

// TestCandidates holds the pick of a directory against containerd, with each
// candidate in each state that it can be in.
func TestCandidates(t *testing.T) {
	for _, host := range []string{"h.example", "h.example:5000", "[2001:db8::1]"} {
		names := Candidates(host)
		states := make([]int, len(names))
		for more := true; more; more = next(states, len(stateNames)) {
			root := t.TempDir()
			want := plantTree(t, root, names, states)
			for _, o := range []oracle{v1, v2} {
				list, err := o.ask(root, host)
				if err != nil || len(list) != 1 {
					t.Fatalf("%s for %s in state %v: %v, %v", o.name, host, states, list, err)
				}
				if got := list[0].address; got != want && (want != "" || got != "https://"+host+" /v2") {
					t.Errorf("%s for %s in state %v reads %q; want %q", o.name, host, states, got, want)
				}
			}
		}
	}
}

// The states of a candidate's directory.
var stateNames = []string{"absent", "with a file", "empty", "dangling link", "link"}

// plantTree makes the candidates' directories and returns the address that the
// file in force says, "" if there is none.
func plantTree(t *testing.T, root string, names []string, states []int) (want string) {
	t.Helper()
	picked := false
	for i, name := range names {
		dir := filepath.Join(root, name)
		server := fmt.Sprintf("https://server-%d", i)
		file := []byte("server = \"" + server + "\"\n[host]\n")
		var err error
		switch stateNames[states[i]] {
		case "with a file":
			write(t, filepath.Join(dir, FileName), file)
		case "empty":
			err = os.Mkdir(dir, 0o755)
		case "dangling link":
			err = os.Symlink("nowhere", dir)
		case "link":
			other := filepath.Join(root, fmt.Sprintf("other-%d", i))
			write(t, filepath.Join(other, FileName), file)
			err = os.Symlink(other, dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); err == nil && !picked {
			picked = true
			if stateNames[states[i]] != "empty" {
				want = server + " /v2"
			}
		}
	}
	return want
}

// next counts states up, each below n; false is past the last.
func next(states []int, n int) bool {
	for i := range states {
		if states[i]++; states[i] < n {
			return true
		}
		states[i] = 0
	}
	return false
}

func TestCandidateNames(t *testing.T) {
	for host, want := range map[string][]string{
		"mcr.microsoft.com":    {"mcr.microsoft.com", "_default"},
		"h:5000":               {"h_5000_", "h:5000", "_default"},
		"[2001:db8::1]":        {"[2001:db8:_1]_", "[2001:db8::1]", "_default"},
		"[2001:db8::1]:5000":   {"[2001:db8::1]_5000_", "[2001:db8::1]:5000", "_default"},
		":5000":                {":5000", "_default"},
		"":                     {"", "_default"},
		"registry-1.docker.io": {"registry-1.docker.io", "_default"},
	} {
		if got := Candidates(host); !slices.Equal(got, want) {
			t.Errorf("Candidates(%q) = %q; want %q", host, got, want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "2.2": "2.2", "v2.4.2": "2.4", "1.7.35-1~deb12u1": "1.7", "2.3.0-rc.1": "2.3", "2.2-k8s": "2.2",
	} {
		if got, err := ParseVersion(in); err != nil || got.String() != want {
			t.Errorf("ParseVersion(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"2", "two", "1.6.39", "0.9", "2.", ".2", "-1.2"} {
		if got, err := ParseVersion(in); err == nil {
			t.Errorf("ParseVersion(%q) = %q; want an error", in, got)
		}
	}
}
