package courier

import (
	"context"
	"io"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// again is how long to wait before a watcher is asked again for its events.
const again = 5 * time.Second

// Follow writes each run of the plugin on the host to w, a line of JSON each, until
// ctx ends. The host's log itself stays closed to the pod.
func Follow(ctx context.Context, host watch.Client, w io.Writer) {
	since := time.Now()
	for ctx.Err() == nil {
		_ = host.Events(ctx, since, func(e audit.Event, line []byte) { // readyz says why there is no watcher
			since = e.Time.Time
			_, _ = w.Write(append(line[:len(line):len(line)], '\n'))
		})
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}
