package pull

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Pauses between attempts double from the first to the longest. Each is shortened at
// random by up to half, so that a thousand nodes that boot together do not ask together.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// spread returns a pause between half of d and d.
func (p *Puller) spread(d time.Duration) time.Duration {
	random := rand.Float64
	if p.jitter != nil {
		random = p.jitter
	}
	return d/2 + time.Duration(random()*float64(d/2))
}

// wait waits, or returns why ctx has ended.
func (p *Puller) wait(ctx context.Context, d time.Duration) error {
	if p.sleep != nil {
		return p.sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// after matches what the plugin reports of a registry that asks to wait.
var after = regexp.MustCompile(`(?i)retry-after:? "?([0-9]{1,6})\b`)

// retryAfter returns how long the registry asked to wait, according to an error; 0 if
// the error does not say. mirrorcred's plugin puts it into its errors, containerd does not.
func retryAfter(text string) time.Duration {
	found := after.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	seconds, _ := strconv.Atoi(found[1])
	return time.Duration(seconds) * time.Second
}

// denied matches the plugin's error about an identity without permission. Other failures
// to get a credential may be temporary: a machine that has just started may not have its
// identity yet.
var denied = regexp.MustCompile(`\bstatus 40[13]\b`)

// status matches an HTTP status as containerd's errors have it:
// "unexpected status from HEAD request to https://…: 401 Unauthorized".
var status = regexp.MustCompile(`: ([45][0-9][0-9]) [A-Z][A-Za-z-]+`)

// judge explains containerd's error, and says whether another attempt can help; nil for
// no error.
func (p *Puller) judge(ctx context.Context, image mirror.Image, err error) *fault {
	if err == nil {
		return nil
	}
	probe := "mirrorcred check --probe --image " + image.String()
	if _, mapped := p.Map.Resolve(image); !mapped {
		probe = "mirrorcred explain --live " + image.String() // probes do not ask sources
	}
	text := provider.OneLine(err.Error())
	code := statusOf(err, text)
	f := &fault{text: text, remedy: probe, after: retryAfter(text)}
	switch code {
	case 401:
		f.text = "the registry refuses the credential: " + text
	case 403:
		f.text = "the credential may not pull this repository: " + text
	case 404:
		f.text = "the registry does not have it: " + text
		f.remedy = "check the tag and the path of the target in the map, then run: " + probe
	case 400:
		f.remedy = "check the name of the image"
	default:
		f.again = ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	return f
}

// statusOf returns the HTTP status that decides: 400, 401, 403 or 404 if another attempt
// cannot help, else another status, or 0 if none is known.
func statusOf(err error, text string) int {
	code := codes.Unknown
	var pull *containerd.PullError
	if errors.As(err, &pull) {
		code = pull.Code
	}
	switch code {
	case codes.InvalidArgument:
		return 400
	case codes.Unauthenticated:
		return 401
	case codes.PermissionDenied:
		return 403
	case codes.DeadlineExceeded, codes.Unavailable, codes.Canceled:
		return 0
	}
	// A registry that is overloaded or down may have failed only the last of several
	// requests. Then the statuses of the others do not count.
	last := 0
	for _, found := range status.FindAllStringSubmatch(text, -1) {
		last, _ = strconv.Atoi(found[1])
	}
	switch {
	case last != 0:
		return last
	case strings.Contains(text, "insufficient_scope"), strings.Contains(text, "authorization failed"):
		return 401
	case code == codes.NotFound, strings.HasSuffix(text, ": not found"):
		return 404
	}
	return 0
}

// Sandbox pulls the pause image unless containerd has it pinned already, and checks that
// it is pinned afterwards. An image that is not pinned is removed by the kubelet when
// space runs short, and containerd cannot pull it again.
func (p *Puller) Sandbox(ctx context.Context, s containerd.Sandbox) Result {
	image, err := mirror.ParseImage(s.Image)
	if err != nil {
		return Result{Image: s.Image, Error: fmt.Sprintf("the configured pause image is not an image name: %v", err), Remedy: "correct it in " + orDefault(s.Where)}
	}
	full := withTag(image)
	if found, ok, err := p.Store.Find(ctx, full); err == nil && ok && found.Pinned {
		return Result{Image: full, Pulled: true, Present: true, Digest: found.Digest, Size: found.Size, Pinned: true}
	}
	r := p.Pull(ctx, image)
	if !r.Pulled || r.Pinned {
		return r
	}
	switch {
	case !s.Pins():
		r.Error = fmt.Sprintf("it is pulled, but containerd %s does not pin images, so the kubelet may remove it", s.Version.Release())
		r.Remedy = "update containerd to 1.7.10 or later"
	case s.ByName() && s.Image != full:
		r.Error = fmt.Sprintf("it is pulled, but containerd does not pin it, since %q is not its full name", s.Image)
		r.Remedy = fmt.Sprintf("write %q in %s, restart containerd, and run this again", full, orDefault(s.Where))
	default:
		r.Error = "it is pulled, but containerd does not pin it: it has another pause image than its configuration says now"
		r.Remedy = "restart containerd, and run this again"
	}
	return r
}

func orDefault(where string) string {
	if where == "" {
		return "containerd's configuration"
	}
	return where
}

// withTag returns the full name of an image, as containerd keeps it.
func withTag(image mirror.Image) string {
	if image.String() == image.Name() {
		return image.Name() + ":latest"
	}
	return image.String()
}
