package alerts

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is how far apart the written samples are, and how often a rule is evaluated.
const step = time.Minute

// A sample is a value at a time.
type sample struct {
	at    int64 // in milliseconds
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// written are series in memory. They implement Prometheus' storage without its
// database, which would take longer to build than all other tests here.
type written []*storage.SeriesEntry

// write parses series in the notation of Prometheus' own rule tests, such as
// `metric{label="x"} 0x10 1+1x20`, from the time 0 on.
func write(t *testing.T, list ...string) written {
	t.Helper()
	var w written
	for _, text := range list {
		lset, values, err := language.ParseSeriesDesc(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{int64(i) * step.Milliseconds(), v.Value})
			}
		}
		w = append(w, storage.NewListSeries(lset, samples))
	}
	return w
}

// Querier implements [storage.Queryable].
func (w written) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := &foundSeries{at: -1}
		for _, s := range w {
			if matches(s.Lset, matchers) {
				found.list = append(found.list, s)
			}
		}
		return found
	}}, nil
}

func matches(lset labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(lset.Get(m.Name)) {
			return false
		}
	}
	return true
}

// foundSeries implements [storage.SeriesSet].
type foundSeries struct {
	list []*storage.SeriesEntry
	at   int
}

func (f *foundSeries) Next() bool                        { f.at++; return f.at < len(f.list) }
func (f *foundSeries) At() storage.Series                { return f.list[f.at] }
func (f *foundSeries) Err() error                        { return nil }
func (f *foundSeries) Warnings() annotations.Annotations { return nil }

var (
	language = parser.NewParser(parser.Options{})
	engine   = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1 << 20, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: language,
	})
)

// evaluate returns the values of an expression at each step until an end.
func evaluate(t *testing.T, w written, expr string, end time.Duration) promql.Matrix {
	t.Helper()
	query, err := engine.NewRangeQuery(context.Background(), w, nil, expr, time.UnixMilli(0), time.UnixMilli(end.Milliseconds()), step)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	result := query.Exec(context.Background())
	m, err := result.Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	for _, warning := range result.Warnings.AsErrors() {
		t.Errorf("%s: %v", expr, warning)
	}
	return m
}

// firstAlert returns when an alert first fires: once its expression has had a value for
// a series for so long, at each step. It is negative if it never does.
func firstAlert(m promql.Matrix, hold time.Duration) time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, series := range m {
		var since, last int64 = -1, -1
		for _, p := range series.Floats {
			if since < 0 || p.T-last > step.Milliseconds() {
				since = p.T
			}
			last = p.T
			if at := time.Duration(p.T) * time.Millisecond; p.T-since >= hold.Milliseconds() && at < first {
				first = at
			}
		}
	}
	if first == math.MaxInt64 {
		return -1
	}
	return first
}
