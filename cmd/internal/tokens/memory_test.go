//go:build linux

package tokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// TestMemory does the same to a cache in memory as to one in files, at random: both
// return the same.
func TestMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	files, memory := newDesk(t), newDesk(t)
	memory.cache = NewIn(new(Memory), Options{Now: func() time.Time { return memory.now }})
	keys := []Key{mine, NewKey("bar.azurecr.io", "azure"), NewKey("bar.azurecr.io", "other")}
	for i := range 2000 {
		key, passed := keys[random.IntN(len(keys))], time.Duration(random.Int64N(int64(20*time.Minute)))
		life, fails := time.Duration(random.Int64N(int64(time.Hour)))-time.Minute, random.IntN(4) == 0
		var said [2]string
		for j, d := range []*desk{files, memory} {
			d.life, d.err = life, nil
			if d.now = d.now.Add(passed); i%2 == 0 {
				d.now = d.now.Add(passed / -500)
			}
			if fails {
				d.err = errors.New("refused")
			}
			hit, err := d.get(key)
			said[j] = fmt.Sprint(hit, err, d.made)
		}
		if said[0] != said[1] {
			t.Fatalf("step %d: files say %s; memory says %s", i, said[0], said[1])
		}
	}
}

// TestMemoryLock checks that one run at a time fetches, and that the others do not wait
// for ever.
func TestMemoryLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		made := 0
		get := func(ctx context.Context, takes time.Duration) []error {
			c := NewIn(&m, Options{})
			_, _, err := c.Get(ctx, []Key{mine}, func(context.Context) (credential.Credential, Key, error) {
				made++
				time.Sleep(takes)
				return credential.Credential{Username: "u", Password: canary, Expires: time.Now().Add(time.Hour)}, mine, nil
			})
			if err != nil {
				t.Error(err)
			}
			return c.Notes()
		}
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() { get(t.Context(), time.Second) })
		}
		wait.Wait()
		if made != 1 {
			t.Errorf("%d fetches; want 1", made)
		}
		m.Clear()
		wait.Go(func() { get(t.Context(), time.Minute) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		notes := get(ctx, 0)
		if took := time.Since(began); took != 20*time.Second || len(notes) != 1 || !strings.Contains(notes[0].Error(), "for too long") {
			t.Errorf("beside a held lock: %s, notes %v", took, notes)
		}
		wait.Wait()
	})
}
