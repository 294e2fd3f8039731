package kubeletconfig

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestReader has one Reader read and change many files, each twice: the answers are
// those of a Reader that remembers nothing.
func TestReader(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	var seen Reader
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			compareReaders(t, &seen, File{f.Name, f.Data})
		}
	}
	if len(seen.documents) == 0 || len(seen.merged) == 0 {
		t.Error("the Reader remembers nothing, so this test shows nothing")
	}
}

// compareReaders compares what a Reader that was used before makes of a file with
// what one that remembers nothing does.
func compareReaders(t *testing.T, seen *Reader, f File) {
	t.Helper()
	stale := func(name string) bool { return name != ofPods.Name }
	results := func(r *Reader) (list []string) {
		entries, err := r.Read(f)
		text, _ := json.Marshal(entries)
		list = append(list, fmt.Sprintf("Read: %s, %v", text, err))
		found, ok, err := r.Find([]File{f}, ours.Name)
		text, _ = json.Marshal(found)
		list = append(list, fmt.Sprintf("Find: %s, %t, %v", text, ok, err))
		for _, o := range []Desired{
			only(ours), {Providers: []Provider{ours, ofPods}}, {Providers: []Provider{ofPods}, Stale: stale}, {Shared: []Provider{found}},
		} {
			data, err := r.Config(f.Data, o)
			list = append(list, fmt.Sprintf("Config: %s, %v", data, err))
			name, data, err := r.Dir(map[string][]byte{f.Name: f.Data, FileName: []byte(head)}, o)
			list = append(list, fmt.Sprintf("Dir: %s, %s, %v", name, data, err))
		}
		return list
	}
	want := results(nil)
	for range 2 {
		for i, got := range results(seen) {
			if got != want[i] {
				t.Errorf("%s: a Reader that was used before returns\n%s\nwant\n%s", f.Name, got, want[i])
			}
		}
	}
}
