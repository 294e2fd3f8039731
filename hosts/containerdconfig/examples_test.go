package containerdconfig

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

const (
	dirC = "/etc/containerd/certs.d"
	dirX = "/etc/other/certs.d"
	main = "/etc/containerd/config.toml"
)

// memory is Files that hold paths and their bytes.
type memory map[string]string

func (m memory) ReadFile(name string) ([]byte, error) {
	data, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return []byte(data), nil
}

func (m memory) Glob(pattern string) ([]string, error) {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, name)
		}
	}
	return found, nil
}

// An example is files of testdata, and what each column's lines make of them.
type example struct {
	name  string
	files memory
	want  map[string]string
}

func readExamples(t testing.TB) []example {
	names, _ := filepath.Glob("testdata/*.txt")
	var all []example
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Split(string(data), "=== ")[1:] {
			archive := txtar.Parse([]byte(s))
			title, wants, _ := strings.Cut(strings.TrimSpace(string(archive.Comment)), "\n")
			e := example{name: title, files: memory{}, want: map[string]string{}}
			for _, want := range strings.Split(wants, " | ") {
				line, answer, _ := strings.Cut(want, " ")
				e.want[line] = answer
			}
			for _, f := range archive.Files {
				e.files["/etc/containerd/"+f.Name] = strings.TrimSuffix(string(f.Data), "\n") + "\n"
			}
			all = append(all, e)
		}
	}
	if len(all) < 105 {
		t.Fatalf("testdata has %d examples", len(all))
	}
	return all
}

// wanted returns the answer of the column that v belongs to: an exact one, or
// that of the last line before it.
func (e example) wanted(v Version) string {
	for _, column := range []string{v.Release(), v.String()} {
		if want, ok := e.want[column]; ok {
			return want
		}
	}
	before := map[string]string{"2.1": "2.0", "2.4": "2.3"}
	return e.want[before[v.String()]]
}

func answer(c Config, err error) string {
	switch {
	case err != nil:
		return "no start"
	case c.NoCRI != nil:
		return "no CRI"
	}
	names := map[string]string{"": "none", dirC: "C", dirX: "X", defaultList: "list"}
	if name, ok := names[c.ConfigPath]; ok {
		return name
	}
	return c.ConfigPath
}

func TestExamples(t *testing.T) {
	for _, e := range readExamples(t) {
		t.Run(e.name, func(t *testing.T) {
			for _, v := range Lines() {
				if v.Release() == "2.2.1" || v.Release() == "2.3.4" {
					if _, named := e.want[v.Release()]; !named {
						continue
					}
				}
				c, err := Effective(e.files, main, v)
				if got, want := answer(c, err), e.wanted(v); got != want {
					t.Errorf("%s: %s; want %s (error %v)", v.Release(), got, want, err)
				}
			}
		})
	}
}
