package provider

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUntrusted holds that no program runs that another user may change, or replace.
func TestUntrusted(t *testing.T) {
	chmod := func(name string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, bin string) {
			if err := os.Chmod(filepath.Join(bin, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	ofGroup := func(name string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, bin string) {
			if os.Geteuid() == 0 { // else it is of a group already
				if err := os.Chown(filepath.Join(bin, name), 0, 50); err != nil {
					t.Fatal(err)
				}
			}
			chmod(name, mode)(t, bin)
		}
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, bin string)
		want  string // "" if the program runs
	}{
		"as it should be":   {chmod("one", 0o755), ""},
		"sticky directory":  {chmod(".", 0o777|os.ModeSticky), ""},
		"file for all":      {chmod("one", 0o757), "; chmod go-w "},
		"directory for all": {chmod(".", 0o777), "; chmod go-w "},
		"a link to one for all": {func(t *testing.T, bin string) {
			dir := t.TempDir()
			if err := errors.Join(os.Rename(filepath.Join(bin, "one"), filepath.Join(dir, "one")), os.Chmod(dir, 0o777), os.Symlink(filepath.Join(dir, "one"), filepath.Join(bin, "one"))); err != nil {
				t.Fatal(err)
			}
		}, "; chmod go-w "},
		"file for a group":      {ofGroup("one", 0o775), "; chmod go-w "},
		"directory for a group": {ofGroup(".", 0o775), ""},
		"another owner": {func(t *testing.T, bin string) {
			if os.Geteuid() == 0 {
				if err := os.Chown(filepath.Join(bin, "one"), 65534, 0); err != nil {
					t.Fatal(err)
				}
				return
			}
			chmod("one", 0o777)(t, bin) // only root can give a file away
		}, "; ch"},
	} {
		t.Run(name, func(t *testing.T) {
			ran := filepath.Join(t.TempDir(), "ran")
			r := newRunner(t, map[string]string{"one": "touch " + ran + "; exit 1"})
			bin := filepath.Join(r.Root, "bin")
			test.spoil(t, bin)
			_, err := r.Run(t.Context(), entry("one", "a.io"), image(t))
			_, missing := os.Stat(ran)
			switch {
			case err == nil:
				t.Fatal("no error")
			case test.want == "" && (missing != nil || errors.Is(err, ErrUnusable)):
				t.Errorf("it was not run: %v", err)
			case test.want != "" && (missing == nil || !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v (it ran: %t); want %q", err, missing == nil, test.want)
			}
		})
	}
}

// TestEndless holds that a provider that prints without end is ended, and fills no
// memory.
func TestEndless(t *testing.T) {
	r := newRunner(t, map[string]string{"stdout": "exec cat /dev/zero", "stderr": "head -c 3000000 /dev/zero >&2; exit 1"})
	if _, err := r.Run(t.Context(), entry("stdout", "a.io"), image(t)); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("without end: %v", err)
	}
	if _, err := r.Run(t.Context(), entry("stderr", "a.io"), image(t)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a long complaint: %.300v", err)
	}
}
