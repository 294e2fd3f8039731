package pull

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestJudge holds which errors of containerd are final: another try cannot help.
func TestJudge(t *testing.T) {
	image := parse(t, "quay.io/a/b:1")
	empty, err := mirror.Parse("", []byte("version = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, final := range map[string]bool{
		`failed to resolve reference "quay.io/a/b:1": unexpected status from HEAD request to https://m.corp/v2/a/b/manifests/1?ns=quay.io: 401 Unauthorized`: true,
		`failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://m.corp/token: 403 Forbidden`:                       true,
		`failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized`:                                                          true,
		`pulling from host m.corp failed with status code [manifests 1]: 403 Forbidden`:                                                                      true,
		`quay.io/a/b:1: not found`: true,
		`pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`: true,
		`unexpected status from HEAD request to https://m.corp/v2/a/b/manifests/1: 429 Too Many Requests`:                                      false,
		`unexpected status from HEAD request to https://m.corp/v2/a/b/manifests/1: 503 Service Unavailable`:                                    false,
		`failed to do request: Head "https://m.corp/v2/a/b/manifests/1": dial tcp 192.0.2.1:443: i/o timeout`:                                  false,
		`httpReadSeeker: failed open: unexpected status: 401 Unauthorized, then unexpected status from GET request: 500 Internal Server Error`: false,
		`failed to copy: unexpected EOF`: false,
	} {
		p := &Puller{Map: empty}
		f := p.judge(t.Context(), image, &containerd.PullError{Code: codes.Unknown, Text: text})
		if f.again == final || f.remedy == "" {
			t.Errorf("judge(%q) tries again: %t; want %t; remedy %q", text, f.again, !final, f.remedy)
		}
	}
	for code, final := range map[codes.Code]bool{
		codes.NotFound: true, codes.Unauthenticated: true, codes.PermissionDenied: true, codes.InvalidArgument: true,
		codes.Unavailable: false, codes.DeadlineExceeded: false, codes.Unknown: false, codes.ResourceExhausted: false,
	} {
		p := &Puller{Map: empty}
		if f := p.judge(t.Context(), image, &containerd.PullError{Code: code, Text: "x"}); f.again == final {
			t.Errorf("judge of %s tries again: %t; want %t", code, f.again, !final)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`status 429, with Retry-After "3600"; try again later`: time.Hour,
		`429 Too Many Requests (retry-after: 7)`:               7 * time.Second,
		`429 Too Many Requests`:                                0,
		`Retry-After "Wed, 21 Oct 2026 07:28:00 GMT"`:          0,
		`Retry-After "99999999999999"`:                         0,
	} {
		if got := retryAfter(text); got != want {
			t.Errorf("retryAfter(%q) = %s; want %s", text, got, want)
		}
	}
}

// A failing is a store whose pulls fail with one error after the other.
type failing struct {
	errs  []error
	times []time.Duration // since the first
	start time.Time
}

func (f *failing) Pull(context.Context, string, credential.Credential) error {
	if f.start.IsZero() {
		f.start = time.Now()
	}
	f.times = append(f.times, time.Since(f.start))
	if len(f.errs) == 0 {
		return nil
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return err
}

func (f *failing) Find(context.Context, string) (containerd.Image, bool, error) {
	return containerd.Image{}, true, nil
}

// TestPauses holds the times of the attempts, by a clock that is not real: they grow,
// are spread, and keep what the other side asked for.
func TestPauses(t *testing.T) {
	down := errors.New("connection refused")
	busy := errors.New(`429 Too Many Requests, Retry-After "20"`)
	for name, tt := range map[string]struct {
		errs    []error
		jitter  float64
		timeout time.Duration
		want    []time.Duration
		fails   bool
	}{
		"longest":     {[]error{down, down, down}, 1, time.Minute, []time.Duration{0, 1, 3, 7}, false},
		"shortest":    {[]error{down, down, down}, 0, time.Minute, []time.Duration{0, 0, 1, 3}, false},
		"retry after": {[]error{busy}, 1, time.Minute, []time.Duration{0, 20}, false},
		"too long":    {[]error{busy}, 1, 10 * time.Second, []time.Duration{0}, true},
		"no end":      {[]error{down, down, down, down, down, down, down, down, down, down}, 1, 2 * time.Minute, []time.Duration{0, 1, 3, 7, 15, 31, 61, 91}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &failing{errs: tt.errs}
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			m, err := mirror.Parse("", []byte("version = 1\n"))
			if err != nil {
				t.Fatal(err)
			}
			p := &Puller{Store: store, Map: m, Any: true, Place: explain.Place{Root: t.TempDir()}, jitter: func() float64 { return tt.jitter }}
			r := p.Pull(ctx, parse(t, "quay.io/a/b:1"))
			if (r.Error != "") != tt.fails || r.Attempts != len(store.times) {
				t.Errorf("%s: %+v; want it to fail: %t", name, r, tt.fails)
			}
			if len(store.times) != len(tt.want) {
				t.Fatalf("%s: attempts after %s; want %d", name, store.times, len(tt.want))
			}
			for i, want := range tt.want {
				if got := store.times[i].Truncate(time.Second); got != want*time.Second {
					t.Errorf("%s: attempts after %s; want %d s for number %d", name, store.times, want, i+1)
				}
			}
		})
	}
}

// TestProgress adds up what the content store reports.
func TestProgress(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newProgress(now)
	if p.String() != "" {
		t.Errorf("before a layer it says %q", p)
	}
	p.add([]containerd.Ingest{
		{Ref: "layer-a", Started: now, Offset: 1 << 20, Total: 4 << 20},
		{Ref: "layer-b", Started: now, Offset: 512, Total: 1024},
		{Ref: "manifest-c", Started: now, Offset: 1, Total: 1},
		{Ref: "layer-old", Started: now.Add(-time.Minute), Offset: 1, Total: 1 << 30},
	})
	if got, want := p.String(), "1.0 MiB of 4.0 MiB, 0 of 2 layers so far"; got != want {
		t.Errorf("it says %q; want %q", got, want)
	}
	p.add([]containerd.Ingest{{Ref: "layer-a", Started: now, Offset: 2 << 20, Total: 4 << 20}})
	if got, want := p.String(), "2.0 MiB of 4.0 MiB, 1 of 2 layers so far"; got != want {
		t.Errorf("it says %q; want %q", got, want)
	}
	p.add(nil)
	if got, want := p.String(), "4.0 MiB of 4.0 MiB, 2 of 2 layers so far"; got != want {
		t.Errorf("it says %q; want %q", got, want)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 30: "3.0 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q; want %q", n, got, want)
		}
	}
}

func parse(t *testing.T, text string) mirror.Image {
	t.Helper()
	image, err := mirror.ParseImage(text)
	if err != nil {
		t.Fatal(err)
	}
	return image
}
