//go:build linux

package tokens

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

const canary = "CANARY-password"

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	mine = NewKey("foo.azurecr.io", "azure", canary+" of azure.json")
)

// A desk is a cache with a clock that is a value, and the count of fetches.
type desk struct {
	*testing.T
	cache *Cache
	now   time.Time
	life  time.Duration // of what is fetched; 0 if it does not say
	err   error
	made  int
}

func newDesk(t *testing.T) *desk {
	d := &desk{T: t, now: noon, life: time.Hour}
	d.cache = New(Options{Dir: filepath.Join(t.TempDir(), "run", "mirrorcred", "tokens"), Now: func() time.Time { return d.now }})
	return d
}

func (d *desk) files() files { return d.cache.store.(files) }

// get gets the credential of a key, and returns whether it was cached.
func (d *desk) get(key Key) (bool, error) {
	d.Helper()
	got, hit, err := d.cache.Get(d.Context(), []Key{key}, func(context.Context) (credential.Credential, Key, error) {
		d.made++
		c := credential.Credential{Username: key.registry, Password: canary}
		if d.life != 0 {
			c.Expires = d.now.Add(d.life)
		}
		return c, key, d.err
	})
	if err == nil && (got.Username != key.registry || got.Password != canary) {
		d.Errorf("the credential of %s is that of %s", key.registry, got.Username)
	}
	for _, note := range d.cache.Notes() {
		if strings.Contains(note.Error(), canary) || strings.Contains(note.Error(), "\n") {
			d.Errorf("a note is not one line without a secret: %v", note)
		}
	}
	return hit, err
}

// want gets the credential of a key that is or is not cached.
func (d *desk) want(key Key, hit bool, when string) {
	d.Helper()
	if got, err := d.get(key); got != hit || err != nil {
		d.Errorf("%s: kept = %t, %v; want %t", when, got, err, hit)
	}
}

func (d *desk) file(key Key) string { return d.files().path(key) }

// TestExpiry checks how long a credential is handed out: to five minutes before
// its end, or a tenth of its time.
func TestExpiry(t *testing.T) {
	for name, c := range map[string]struct {
		life, after time.Duration
		hit         bool
	}{
		"at once":              {time.Hour, 0, true},
		"an hour's last":       {time.Hour, 55*time.Minute - 1, true},
		"an hour's margin":     {time.Hour, 55 * time.Minute, false},
		"ten minutes' last":    {10 * time.Minute, 9*time.Minute - 1, true},
		"ten minutes' margin":  {10 * time.Minute, 9 * time.Minute, false},
		"it does not say":      {0, 0, false},
		"it is over":           {-time.Second, 0, false},
		"the clock went back":  {time.Hour, -2 * time.Second, false},
		"it went back a trace": {time.Hour, -time.Millisecond, true},
	} {
		d := newDesk(t)
		d.life = c.life
		d.want(mine, false, name)
		d.now = noon.Add(c.after)
		d.want(mine, c.hit, name)
		if len(d.cache.Notes()) > 0 {
			t.Errorf("%s: notes %v", name, d.cache.Notes())
		}
	}
}

// TestKeys checks that each part of a key counts, and where the parts end.
func TestKeys(t *testing.T) {
	d := newDesk(t)
	keys := []Key{
		NewKey("foo.azurecr.io", "a", "b"), NewKey("bar.azurecr.io", "a", "b"), NewKey("foo.azurecr.io", "a", "c"),
		NewKey("foo.azurecr.io", "ab", ""), NewKey("foo.azurecr.io", "a"), NewKey("foo.azurecr.io", "a", "\xff"), NewKey("foo.azurecr.io", "a", "\xfe"),
	}
	for _, key := range keys {
		d.want(key, false, "at first")
	}
	for _, key := range keys {
		d.want(key, true, "again")
	}
}

// TestModes holds who may read what, whatever the umask, and that no name is
// made of a secret.
func TestModes(t *testing.T) {
	d := newDesk(t)
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	d.want(mine, false, "umask 0")
	syscall.Umask(0o177)
	other := NewKey("other.azurecr.io", canary)
	d.want(other, false, "umask 0177")
	d.want(other, true, "umask 0177")
	err := filepath.WalkDir(d.files().dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want || strings.Contains(path, "CANARY") {
			t.Errorf("%s has the mode %v; want %v", path, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBad breaks the cache, one thing at a time: nothing of it is used, the
// credential is fetched, and a note says why.
func TestBad(t *testing.T) {
	write := func(data string) func(*desk) error {
		return func(d *desk) error { return os.WriteFile(d.file(mine), []byte(data), 0o600) }
	}
	remake := func(make func(path string) error) func(*desk) error {
		return func(d *desk) error { return errors.Join(os.Remove(d.file(mine)), make(d.file(mine))) }
	}
	for name, c := range map[string]struct {
		wreck func(*desk) error
		note  string
		heals bool // the next run uses the cache again
	}{
		"empty":       {write(""), "cut short", true},
		"not JSON":    {write("x"), "cut short", true},
		"not ours":    {write(`{"sha256":"","entry":null}`), "cut short", true},
		"too long":    {func(d *desk) error { return os.Truncate(d.file(mine), 1<<30) }, "is larger than any token", true},
		"a wide mode": {func(d *desk) error { return os.Chmod(d.file(mine), 0o640) }, "0640", true},
		"a symlink": {func(d *desk) error {
			return errors.Join(os.Rename(d.file(mine), d.file(mine)+"x"), os.Symlink(d.file(mine)+"x", d.file(mine)))
		}, "is a symbolic link, not a file", true},
		"a named pipe":     {remake(func(path string) error { return syscall.Mkfifo(path, 0o600) }), "is a FIFO, not a file, and is not used; remove it", true},
		"a directory":      {remake(func(path string) error { return os.Mkdir(path, 0o700) }), "is a directory, not a file, and is not used; remove it", false},
		"another's name":   {func(d *desk) error { return os.Rename(d.file(NewKey("bar.azurecr.io", "x")), d.file(mine)) }, "of another registry or identity", true},
		"a wide directory": {func(d *desk) error { return os.Chmod(d.files().dir, 0o755) }, "has the mode 0755", false},
		"a link for it": {func(d *desk) error {
			return errors.Join(os.Rename(d.files().dir, d.files().dir+"x"), os.Symlink(d.files().dir+"x", d.files().dir))
		}, "is not a directory", false},
		"a file for it": {func(d *desk) error {
			return errors.Join(os.RemoveAll(d.files().dir), os.WriteFile(d.files().dir, nil, 0o700))
		}, "is not a directory", false},
		"a pipe for the lock": {func(d *desk) error {
			lock := d.file(mine) + lockSuffix
			return errors.Join(os.Remove(d.file(mine)), os.RemoveAll(lock), syscall.Mkfifo(lock, 0o600))
		}, "is not a regular file", false},
		"removed": {func(d *desk) error { return os.RemoveAll(d.files().dir) }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.want(mine, false, "cold")
			d.want(NewKey("bar.azurecr.io", "x"), false, "cold")
			d.want(mine, true, "warm")
			if err := c.wreck(d); err != nil {
				t.Fatal(err)
			}
			d.want(mine, false, "broken")
			d.want(mine, c.heals, "the next time")
			notes := d.cache.Notes()
			if c.note == "" && len(notes) > 0 || c.note != "" && (len(notes) == 0 || !strings.Contains(notes[0].Error(), c.note)) {
				t.Errorf("the notes are %v; want %q", notes, c.note)
			}
		})
	}
}

// TestOwner checks that what belongs to another user is not used.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	for _, path := range []func(*desk) string{func(d *desk) string { return d.file(mine) }, func(d *desk) string { return d.files().dir }} {
		d := newDesk(t)
		d.want(mine, false, "cold")
		if err := os.Chown(path(d), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		d.want(mine, false, "given away")
		if notes := d.cache.Notes(); len(notes) != 1 || !strings.Contains(notes[0].Error(), "belongs to another user") {
			t.Errorf("the notes are %v", notes)
		}
	}
}

// TestEveryByte cuts an entry short at every byte and changes every bit of it.
func TestEveryByte(t *testing.T) {
	d := newDesk(t)
	d.want(mine, false, "cold")
	whole, err := os.ReadFile(d.file(mine))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		broken := []string{string(whole[:i]), string(whole[:i]) + string(whole[i+1:]), string(whole[:i+1]) + string(whole[i:])}
		for bit := range 8 {
			flipped := []byte(string(whole))
			flipped[i] ^= 1 << bit
			broken = append(broken, string(flipped))
		}
		for _, data := range broken {
			if e, err := decode([]byte(data)); err == nil {
				t.Errorf("byte %d: %q is taken for an entry of %s", i, data, e.Registry)
			}
		}
	}
	if _, err := decode(whole); err != nil {
		t.Errorf("the whole entry: %v", err)
	}
}

// TestOneFetch checks that of many at once one fetches, each with a lock of its
// own as another process has it.
func TestOneFetch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	var made atomic.Int32
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			_, _, err := New(Options{Dir: dir}).Get(t.Context(), []Key{mine}, func(context.Context) (credential.Credential, Key, error) {
				made.Add(1)
				return credential.Credential{Username: "u", Password: canary, Expires: time.Now().Add(time.Hour)}, mine, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if made.Load() != 1 {
		t.Errorf("%d fetches; want 1", made.Load())
	}
}

// TestHeldLock checks that a lock that is never released blocks no run: it is
// waited for during a part of the time that there is.
func TestHeldLock(t *testing.T) {
	// Held until the directory is gone: who waits for it in vain is left behind,
	// and would make a lock of its own in a directory that is being removed.
	var held *os.File
	t.Cleanup(func() { held.Close() })
	d := newDesk(t)
	if err := d.files().open(); err != nil {
		t.Fatal(err)
	}
	var err error
	if held, err = flock(d.file(mine) + lockSuffix); err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context) error {
		_, hit, err := d.cache.Get(ctx, []Key{mine}, func(context.Context) (credential.Credential, Key, error) {
			return credential.Credential{}, mine, nil
		})
		if hit {
			t.Error("it is a hit")
		}
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := get(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("beside a held lock: %v, %v", err, ctx.Err())
	}
	if notes := d.cache.Notes(); len(notes) != 1 || !strings.Contains(notes[0].Error(), "for too long") {
		t.Errorf("the notes are %v", notes)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := get(stopped); err == nil || !strings.Contains(err.Error(), "waited for another run") {
		t.Errorf("told to stop: %v", err)
	}
}

// TestPrune checks that expired files and free locks are removed, and nothing
// else.
func TestPrune(t *testing.T) {
	d := newDesk(t)
	d.want(mine, false, "cold")
	left := filepath.Join(d.files().dir, temporary+"left")
	held := NewKey("held.azurecr.io", "x")
	lock, err := flock(d.file(held) + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{left, d.file(mine) + lockSuffix, d.file(held) + lockSuffix} {
		if err := os.Chtimes(path, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	d.now = noon.Add(55*time.Minute + time.Hour)
	d.want(NewKey("bar.azurecr.io", "x"), false, "another")
	for path, want := range map[string]bool{
		left: false, d.file(mine): false, d.file(mine) + lockSuffix: false, d.file(held) + lockSuffix: true,
		d.file(NewKey("bar.azurecr.io", "x")): true,
	} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s is there: %t; want %t", filepath.Base(path), err == nil, want)
		}
	}
}
