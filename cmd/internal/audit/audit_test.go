//go:build linux

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var noon = Time{time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)}

func event(image string) Event {
	return Event{Time: noon, Image: image, Source: "mcr.microsoft.com", Outcome: Answered, Took: Took(12345678), Targets: []Target{{
		Host: "foo.azurecr.io", Credential: "azure", Identity: "managed identity", Took: Took(time.Millisecond),
		Steps: []Step{{"registry challenge", Took(500 * time.Microsecond)}},
	}}}
}

func TestEncode(t *testing.T) {
	const want = `{"time":"2026-11-22T12:00:00.123Z","image":"x","source":"mcr.microsoft.com","outcome":"answered",` +
		`"targets":[{"target":"foo.azurecr.io","credential":"azure","identity":"managed identity","cached":false,` +
		`"steps":[{"step":"registry challenge","ms":0.5}],"ms":1}],"ms":12.35}` + "\n"
	line, err := event("x").Encode()
	if err != nil || string(line) != want {
		t.Errorf("Encode = %s, %v; want %s", line, err, want)
	}
	got, ok := Decode([]byte(want))
	if !ok || got.Image != "x" || !got.Time.Equal(time.Date(2026, 11, 22, 12, 0, 0, 123e6, time.UTC)) || got.Targets[0].Steps[0].Took != Took(500*time.Microsecond) {
		t.Errorf("Decode = %+v, %t", got, ok)
	}
}

// TestBounded checks that a line is one line, and never too long for the kernel
// to append in one piece.
func TestBounded(t *testing.T) {
	for _, long := range []string{strings.Repeat("x", 1<<20), strings.Repeat("é", 5000), strings.Repeat("\"\\\n", 5000), strings.Repeat("\x00\xff", 5000)} {
		for _, targets := range []int{0, 1, 5, 500} {
			e := Event{Time: noon, Image: long, Source: long, Outcome: Failed, Reason: long}
			for range targets {
				e.Targets = append(e.Targets, Target{Host: long, Credential: long, Identity: "managed identity", Failure: long, Steps: []Step{{"registry challenge", 1}}})
			}
			line, err := e.Encode()
			if err != nil || len(line) > 4095 || bytes.Count(line, []byte("\n")) != 1 || !json.Valid(line) {
				t.Errorf("%d targets with %.8q: %d bytes, %v", targets, long, len(line), err)
			}
			if got, ok := Decode(line); !ok || got.Outcome != Failed {
				t.Errorf("%d targets with %.8q: it does not decode: %s", targets, long, line)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	line, _ := event("x").Encode()
	f.Add(line)
	f.Add(append([]byte(`{"time":"2026-`), line...))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ok := Decode(data)
		if !ok || e.Time.Year() > 9999 || e.Time.Year() < 0 {
			return
		}
		line, err := e.Encode()
		if err != nil {
			return
		}
		if _, ok := Decode(line); !ok {
			t.Errorf("Decode(%s) is an event, but its line %s is not", data, line)
		}
	})
}

func TestDecodeHalf(t *testing.T) {
	line, err := event("whole").Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, ok := Decode(append(bytes.Clone(line[:40]), line...))
	if !ok || got.Image != "whole" {
		t.Errorf("a line behind half a line is %+v, %t", got, ok)
	}
	for _, none := range []string{"", "x", "{}", "null", string(line[:40])} {
		if e, ok := Decode([]byte(none)); ok {
			t.Errorf("Decode(%q) = %+v", none, e)
		}
	}
}

// lines reads a log whole.
func lines(t *testing.T, path string) []string {
	t.Helper()
	log := Open(nil, path)
	defer log.Close()
	var list []string
	if err := log.Next(func(line []byte) error { list = append(list, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestAppend checks that lines are whole and none is lost while many append and
// the log is moved away under them, and who may read it.
func TestAppend(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	path := filepath.Join(t.TempDir(), "mirrorcred", "plugin.jsonl")
	const runs, most = 300, 60_000 // one rotation
	var wait sync.WaitGroup
	for i := range runs {
		wait.Go(func() {
			if err := appendTo(path, event(fmt.Sprint("image-", i)), most); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	seen := map[string]bool{}
	for _, line := range lines(t, path) {
		e, ok := Decode([]byte(line))
		if !ok {
			t.Fatalf("a line is not whole: %s", line)
		}
		seen[e.Image] = true
	}
	if len(seen) != runs {
		t.Errorf("%d of %d lines are there", len(seen), runs)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, path + old: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has the mode %v; want %v", name, info.Mode(), mode)
		}
	}
}

// TestAppendNowhere checks that what is not a log is not written to and not waited
// for.
func TestAppendNowhere(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a named pipe":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a symlink":            func(path string) error { return os.Symlink("/dev/null", path) },
		"a directory":          func(path string) error { return os.Mkdir(path, 0o700) },
		"no directory for two": func(path string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(path))) },
		"a file above": func(path string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		},
		"too large and stuck": func(path string) error {
			return errors.Join(os.MkdirAll(path+old+"/x", 0o700), os.WriteFile(path, nil, 0o600), os.Truncate(path, 2*mostBytes))
		},
	} {
		path := filepath.Join(t.TempDir(), "log", "mirrorcred", "plugin.jsonl")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), make(path)); err != nil {
			t.Fatal(err)
		}
		if err := Append(path, event("x")); err == nil {
			t.Errorf("%s is written to", name)
		}
	}
}

// TestAppendPipe checks that a pipe with a reader gets nothing.
func TestAppendPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.jsonl")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := Append(path, event("x")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Append to a pipe: %v", err)
	}
}

// TestFollow checks that a reader goes on where it ended: behind half a line,
// over a rotation, in a log that was emptied or is not there yet.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.jsonl")
	log := Open(nil, path)
	defer log.Close()
	want := func(list ...string) {
		t.Helper()
		var got []string
		if err := log.Next(func(line []byte) error { got = append(got, string(line)); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(list) {
			t.Errorf("it reads %q; want %q", got, list)
		}
	}
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	move := func() {
		t.Helper()
		if err := os.Rename(path, path+old); err != nil {
			t.Fatal(err)
		}
	}
	want()
	add("one\ntwo\nth")
	want("one", "two")
	add("ree\n")
	want("three")
	want()
	add("four\n")
	move()
	want("four")
	add("five\n")
	want("five")
	move()
	add("six\n")
	want("six")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	want()
	add("7\n")
	want("7")
	if got := fmt.Sprint(lines(t, path)); got != "[five 7]" {
		t.Errorf("from the beginning it reads %s", got)
	}
}

// TestLogWithoutLines checks that a log which is one endless line takes no memory,
// and that the events behind it are found.
func TestLogWithoutLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	line, err := event("behind").Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 16<<20)); err != nil {
		t.Fatal(err)
	}
	log := Open(nil, path)
	defer log.Close()
	var got []string
	next := func() {
		t.Helper()
		if err := log.Next(func(line []byte) error {
			if e, ok := Decode(line); ok {
				got = append(got, e.Image)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	next()
	if cap(log.rest) > 1<<20 {
		t.Errorf("it keeps %d bytes", cap(log.rest))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(append([]byte(`{"image":"tail","outcome":"empty"}`+"\n"), line...), line...)); err != nil {
		t.Fatal(err)
	}
	if next(); len(got) != 2 || got[0] != "behind" {
		t.Errorf("the events are of %q", got)
	}
}
