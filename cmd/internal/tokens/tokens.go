// Package tokens keeps credentials from one run of the plugin to the next, in
// files that only root can read, and lets one run at a time fetch one.
//
// It knows files and locks. It does not know what a credential is for or how to
// get it: a [Key] stands for the first, a function for the second. A fault of
// the cache never stops a pull: an entry that cannot be trusted is not used,
// the credential is fetched as if there were no cache, and [Cache.Notes] says
// why.
//
// Start at [Cache.Get].
package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A Key says which registry and which identity a credential is for. The zero
// Key is invalid.
type Key struct{ registry, digest string }

// NewKey returns the key of a registry and an identity. The parts of the
// identity may be secret: only their hash goes anywhere.
func NewKey(registry string, identity ...string) Key {
	sum := sha256.New()
	for _, part := range append([]string{registry}, identity...) {
		// The length keeps the parts apart.
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return Key{registry, hex.EncodeToString(sum.Sum(nil))}
}

// Options configure a cache. The zero value of a field means its default.
type Options struct {
	// Dir is the directory of the cache; it is created if missing.
	Dir string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Remember is how long a failure is remembered, unless a server asked for
	// longer; 0 means 8 s.
	Remember time.Duration
}

// A Cache is one store of credentials. Its methods are safe for concurrent use,
// by other processes too.
type Cache struct {
	store    store
	now      func() time.Time
	remember time.Duration

	mu    sync.Mutex
	notes []error
}

// A store holds the entries of a cache. It decides nothing: that is for Cache.
type store interface {
	// open returns why the store cannot be used.
	open() error
	// read returns the entry of a key; the zero entry, which is never good, if
	// there is none.
	read(Key) (entry, error)
	// write puts an entry in place of an earlier one of its key.
	write(entry) error
	// prune removes what expired expiredFor ago.
	prune(now time.Time)
	// lock waits until only this run fetches for a key, and returns what releases
	// the lock.
	lock(ctx context.Context, key Key) (release func(), err error)
}

// expiredFor is how long an expired entry is left.
const expiredFor = time.Hour

// New returns the cache in a directory. Nothing is touched yet.
func New(o Options) *Cache { return newCache(files{o.Dir}, o) }

func newCache(s store, o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Remember == 0 {
		o.Remember = 8 * time.Second
	}
	return &Cache{store: s, now: o.Now, remember: o.Remember}
}

// Notes returns what kept the cache from being used, each fault once. No note
// holds a secret.
func (c *Cache) Notes() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notes)
}

func (c *Cache) note(err error) {
	err = fmt.Errorf("token cache: %w", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.notes, func(other error) bool { return other.Error() == err.Error() }) {
		c.notes = append(c.notes, err)
	}
}

// A Fetch gets a credential, and says under which key it may be cached: one of
// those that [Cache.Get] was called with. Its error holds no secret. If the
// error has a method RetryAfter() time.Duration, the failure is remembered for
// that long, up to five minutes.
type Fetch func(ctx context.Context) (credential.Credential, Key, error)

// A Remembered is the error of an earlier run, which was not tried again.
type Remembered struct {
	text         string
	since, until time.Time
}

// Error says what failed, and that it was not tried again.
func (r *Remembered) Error() string {
	const clock = "15:04:05.000Z07:00"
	return r.text + " (remembered since " + r.since.UTC().Format(clock) + "; not tried again before " + r.until.UTC().Format(clock) + ")"
}

// Get returns the credential that is cached under one of keys, the narrowest
// first, or else what fetch gets; hit says that it was cached. One fetch is made
// at a time for the narrowest key, whoever asks: the others wait for it and
// take its result, its failure too, as a [Remembered]. The wait ends when two
// thirds of the time that ctx leaves are over, and the credential is fetched
// anyway.
func (c *Cache) Get(ctx context.Context, keys []Key, fetch Fetch) (got credential.Credential, hit bool, err error) {
	alone := func() (credential.Credential, bool, error) {
		got, _, err := fetch(ctx)
		return got, false, err
	}
	if err := c.store.open(); err != nil {
		c.note(err)
		return alone()
	}
	if e, ok := c.find(keys); ok {
		return e.result()
	}
	release, err := c.store.lock(ctx, keys[0])
	if err != nil {
		if ctx.Err() != nil {
			return credential.Credential{}, false, fmt.Errorf("waited for another run of this program to ask for %s: %w", keys[0].registry, context.Cause(ctx))
		}
		c.note(err)
		return alone()
	}
	defer release()
	if e, ok := c.find(keys); ok {
		return e.result()
	}
	got, key, err := fetch(ctx)
	if err != nil {
		c.saveFailure(ctx, keys[0], err)
		return credential.Credential{}, false, err
	}
	c.save(key, got)
	return got, false, nil
}

// find returns the entry of the first key that has one to be used now.
func (c *Cache) find(keys []Key) (entry, bool) {
	for _, key := range keys {
		e, err := c.store.read(key)
		if err != nil {
			c.note(err)
		}
		if err == nil && e.good(c.now()) {
			return e, true
		}
	}
	return entry{}, false
}

// margin is how long before its end a credential is no longer returned: five
// minutes, or a tenth of its lifetime if that is less. A pull must still begin
// with it.
func margin(left time.Duration) time.Duration { return min(5*time.Minute, left/10) }

// save caches a credential until it expires; one without an expiry is not cached.
func (c *Cache) save(key Key, got credential.Credential) {
	now := c.now()
	left := got.Expires.Sub(now)
	if got.Expires.IsZero() || left <= 0 || key == (Key{}) {
		return
	}
	c.put(entry{
		Registry: key.registry, Key: key.digest, Since: now, Until: got.Expires.Add(-margin(left)),
		Username: got.Username, Password: got.Password.Reveal(), Expires: got.Expires,
	})
}

// saveFailure remembers a failure, but not that this run was told to stop.
func (c *Cache) saveFailure(ctx context.Context, key Key, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	now := c.now()
	e := entry{Registry: key.registry, Key: key.digest, Since: now, Until: now.Add(max(c.remember, retryAfter(err))), Failure: clip(brief(err))}
	if r, ok := errors.AsType[*Remembered](err); ok {
		// Remembered for another key: no longer here than there.
		e.Since, e.Until, e.Failure = r.since, r.until, r.text
	}
	c.put(e)
}

// mostRetryAfter bounds how long a server can have itself left alone. The kubelet
// itself waits no longer than this between two pulls.
const mostRetryAfter = 5 * time.Minute

// retryAfter returns how long the server that caused an error asked to be left
// alone, 0 if it did not ask.
func retryAfter(err error) time.Duration {
	var busy interface {
		error
		RetryAfter() time.Duration
	}
	if !errors.As(err, &busy) {
		return 0
	}
	return min(busy.RetryAfter(), mostRetryAfter)
}

func (c *Cache) put(e entry) {
	if err := c.store.write(e); err != nil {
		c.note(err)
	}
	c.store.prune(c.now())
}

// brief returns an error without another program's output, which is masked but
// still must not be stored.
func brief(err error) string {
	text := err.Error()
	var failure interface {
		error
		Brief() string
	}
	if errors.As(err, &failure) {
		text = strings.ReplaceAll(text, failure.Error(), failure.Brief())
	}
	return text
}

func clip(text string) string {
	const most = 2048
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
