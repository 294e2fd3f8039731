package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

const canary = "c2VjcmV0LWNhbmFyeQ=="

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func value() Value {
	return Value{Registry: "harbor.corp", Authorization: "Basic " + canary, Realm: true, Until: noon.Add(time.Hour), Credential: "harbor", From: noon, Renew: noon.Add(time.Minute), Issued: noon.Add(-time.Hour), Unproved: true}
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "delivered")
	s := New(dir)
	if _, err := s.Value("k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no value: %v", err)
	}
	fault := Fault{"harbor.corp", "it answered\n401", noon}
	if err := s.SetFault("k", fault); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Fault("k"); err != nil || got.Reason != "it answered 401" || !got.At.Equal(noon) {
		t.Errorf("fault %+v, %v", got, err)
	}
	if err := s.SetValue("k", value()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Value("k"); err != nil || got != value() {
		t.Errorf("value %+v, %v; want %+v", got, err, value())
	}
	if _, err := s.Fault("k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a value leaves the fault: %v", err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "k.json"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if err := s.SetFault("l", fault); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"k", "l"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	if err := s.Remove("k"); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"l"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
}

func TestEnded(t *testing.T) {
	v := value()
	for at, want := range map[time.Time]bool{noon: false, v.Until.Add(-1): false, v.Until: true, v.Until.Add(1): true} {
		if got := v.Ended(at); got != want {
			t.Errorf("ended at %v: %v", at, got)
		}
	}
	if v.Until = (time.Time{}); v.Ended(noon.AddDate(100, 0, 0)) {
		t.Error("a value without an end has ended")
	}
}

// TestNotAHeader checks that what could add a header or a line to a request, or to
// hosts.toml, is neither written nor read, and that no error quotes it.
func TestNotAHeader(t *testing.T) {
	for _, bad := range []string{"", canary, "Basic", "Basic ", "basic " + canary, "Digest " + canary, "Basic " + canary + "\r\nX: y", "Bearer a b", "Bearer \x00" + canary, "Bearer é"} {
		s := New(t.TempDir())
		v := value()
		v.Authorization = credential.Secret(bad)
		if err := s.SetValue("k", v); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q is written: %v", bad, err)
		}
		data, err := encode(valueFile{Registry: "h", Authorization: bad})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "k.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Value("k"); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q is read: %v", bad, err)
		}
	}
}

// TestUnreadable checks that only a file of root's that no other can read counts.
func TestUnreadable(t *testing.T) {
	s := New(t.TempDir())
	if err := s.SetValue("k", value()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "k.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"others can read it": func() error { return os.Chmod(path, 0o644) },
		"it is cut short":    func() error { return os.WriteFile(path, data[:len(data)/2], 0o600) },
		"it is empty":        func() error { return os.Truncate(path, 0) },
		"it has more":        func() error { return os.WriteFile(path, append(data, data...), 0o600) },
		"it is a link": func() error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Value("k"); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if err := errors.Join(os.Remove(path), s.SetValue("k", value())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestValueHides checks that no way of printing a value shows the header.
func TestValueHides(t *testing.T) {
	v := value()
	for _, s := range []string{fmt.Sprint(value()), fmt.Sprintf("%+v %v", value(), &v), fmt.Sprintf("%q", v.Authorization)} {
		if strings.Contains(s, canary) {
			t.Errorf("printed: %s", s)
		}
	}
}

// TestCrash stops a change before each of its steps: the key has its old value or its
// new one, whole, and the next change ends what was begun.
func TestCrash(t *testing.T) {
	old, renewed := value(), value()
	renewed.Authorization = "Bearer " + canary
	for n := 0; ; n++ {
		s := New(t.TempDir())
		if err := errors.Join(s.SetValue("k", old), s.SetFault("k", Fault{Registry: "harbor.corp", Reason: "down", At: noon})); err != nil {
			t.Fatal(err)
		}
		killed, steps := errors.New("killed"), 0
		s.step = func(string) error {
			if steps++; steps > n {
				return killed
			}
			return nil
		}
		err := s.SetValue("k", renewed)
		s.step = nil
		if got, rerr := s.Value("k"); rerr != nil || got != old && got != renewed {
			t.Fatalf("killed before step %d: %+v, %v", n, got, rerr)
		}
		if err := errors.Join(s.Clean(), s.SetValue("k", renewed)); err != nil {
			t.Fatal(err)
		}
		if names, err := filepath.Glob(filepath.Join(s.dir, ".*")); err != nil || len(names) > 0 {
			t.Fatalf("killed before step %d: left %q, %v", n, names, err)
		}
		if err == nil {
			if n < 5 {
				t.Errorf("a change has %d steps only", n)
			}
			return
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := value().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := decodeValue(data)
		if err != nil {
			return
		}
		again, err := v.encode()
		if err != nil {
			t.Fatal(err)
		}
		if same, err := decodeValue(again); err != nil || same != v && !same.Until.Equal(v.Until) {
			t.Errorf("%+v, then %+v, %v", v, same, err)
		}
	})
}
