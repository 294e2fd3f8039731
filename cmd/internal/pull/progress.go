package pull

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
)

// every is how often progress is asked for.
const every = 200 * time.Millisecond

// A Progress is how far containerd's downloads are. The CRI does not report that, so it
// comes from containerd's content store: which layers are being written, and how many
// bytes of each are there. It is not known how many layers are still to come, and
// downloads of other pulls at the same time count too.
type Progress struct {
	since  time.Time
	layers map[string]layer
}

type layer struct {
	offset, total int64
	active        bool
}

// newProgress returns the progress of downloads that begin from now on.
func newProgress(now time.Time) *Progress {
	return &Progress{since: now, layers: map[string]layer{}}
}

// add takes the layers that are being written now. A layer that is no longer among them
// is complete.
func (p *Progress) add(now []containerd.Ingest) {
	for ref, l := range p.layers {
		if l.active {
			p.layers[ref] = layer{l.total, l.total, false}
		}
	}
	for _, one := range now {
		// The times come from two clocks of one machine: a second of tolerance is enough.
		if strings.HasPrefix(one.Ref, "layer-") && !one.Started.Before(p.since.Add(-time.Second)) {
			p.layers[one.Ref] = layer{one.Offset, one.Total, true}
		}
	}
}

// String returns the progress in a few words, "" if no layer was begun.
func (p *Progress) String() string {
	var offset, total int64
	done := 0
	for _, l := range p.layers {
		offset, total = offset+l.offset, total+l.total
		if !l.active {
			done++
		}
	}
	if len(p.layers) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s, %d of %d layers so far", Bytes(offset), Bytes(total), done, len(p.layers))
}

// Watch calls draw with the progress until stop is called, which waits for the last call
// to end. If containerd does not answer, there is no progress.
func Watch(ctx context.Context, ingests func(context.Context) ([]containerd.Ingest, error), draw func(text string)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := newProgress(time.Now())
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now, err := ingests(ctx); err == nil {
				p.add(now)
				draw(p.String())
			}
		}
	}()
	return func() { cancel(); <-done }
}

// Bytes returns a size for a person, such as "12.3 MiB".
func Bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
