package episode

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, nil))
		var e Episode
		for _, step := range []struct {
			after    time.Duration
			fault    string // "" if all is well
			isNew    bool
			wantLine string
		}{
			{fault: "", wantLine: ""},
			{fault: "a", isNew: true, wantLine: ""},
			{after: time.Minute, fault: "a", wantLine: ""},
			{after: time.Second, fault: "b", isNew: true, wantLine: `level=INFO msg="fault over" fault=a after=1m1s`},
			{after: 1500 * time.Microsecond, fault: "", wantLine: `level=INFO msg="works again" fault=b after=2ms`},
			{after: time.Hour, fault: "", wantLine: ""},
		} {
			time.Sleep(step.after)
			out.Reset()
			if step.fault == "" {
				e.Ends(log, "works again")
			} else if isNew := e.Begins(log, step.fault); isNew != step.isNew {
				t.Errorf("Begins(%q) = %v; want %v", step.fault, isNew, step.isNew)
			}
			if got := strings.TrimSpace(stamp.ReplaceAllString(out.String(), "")); got != step.wantLine {
				t.Errorf("%q logs %q; want %q", step.fault, got, step.wantLine)
			}
		}
	})
}

var stamp = regexp.MustCompile(`time=\S+ `)
