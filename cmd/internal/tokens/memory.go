package tokens

import (
	"context"
	"sync"
	"time"
)

// A Memory holds the entries of a cache without files: a simulation of thousands
// of nodes has no disk for each. All decisions are those of [Cache]. The zero
// Memory is empty.
type Memory struct {
	mu      sync.Mutex
	entries map[Key]entry
	locks   map[Key]chan struct{}
}

// NewIn returns the cache in a Memory. Options.Dir is not used.
func NewIn(m *Memory, o Options) *Cache { return newCache(m, o) }

// Clear empties m, as a boot empties /run.
func (m *Memory) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.entries)
}

func (m *Memory) open() error { return nil }

func (m *Memory) read(key Key) (entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[key], nil
}

func (m *Memory) write(e entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[Key]entry{}
	}
	m.entries[Key{e.Registry, e.Key}] = e
	return nil
}

func (m *Memory) prune(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, e := range m.entries {
		if !e.Until.After(now.Add(-expiredFor)) {
			delete(m.entries, key)
		}
	}
}

func (m *Memory) lock(ctx context.Context, key Key) (release func(), err error) {
	ctx, cancel := patience(ctx)
	defer cancel()
	lock := m.lockOf(key)
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, errWaited("the lock of " + key.registry)
	}
}

func (m *Memory) lockOf(key Key) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks == nil {
		m.locks = map[Key]chan struct{}{}
	}
	if m.locks[key] == nil {
		m.locks[key] = make(chan struct{}, 1)
	}
	return m.locks[key]
}
