package watch

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The metrics are written here, and not by Prometheus' client library: with its
// registry, its collectors and what those import it was a twentieth of the
// program, and a third of the time before main. In tests Prometheus' own parser
// reads the text, and its client library writes the same.

// contentType is the type of an exposition: version 0.0.4 of the text format,
// which every Prometheus reads.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// A kind is a kind of metric.
type kind string

const (
	counter       kind = "counter"
	gauge         kind = "gauge"
	histogramKind kind = "histogram"
)

// An exposition is a page of metrics in Prometheus' text format. The zero
// exposition is empty.
type exposition struct{ text bytes.Buffer }

// metric adds a metric without a label.
func (e *exposition) metric(k kind, name, help string, value float64) {
	e.head(k, name, help)
	e.sample(name, "", "", value)
}

// info adds a metric that is always 1, for the value of its label.
func (e *exposition) info(name, help, label, value string) {
	e.head(gauge, name, help)
	e.sample(name, label, value, 1)
}

// labelled adds a metric with one sample for each value of a label, in their
// order; nothing if there is no value.
func (e *exposition) labelled(k kind, name, help, label string, values map[string]float64) {
	if len(values) == 0 {
		return
	}
	e.head(k, name, help)
	names := make([]string, 0, len(values))
	for value := range values {
		names = append(names, value)
	}
	slices.Sort(names)
	for _, value := range names {
		e.sample(name, label, value, values[value])
	}
}

// histogram adds a histogram.
func (e *exposition) histogram(name, help string, h histogram) {
	e.head(histogramKind, name, help)
	for i, most := range h.bounds {
		e.sample(name+"_bucket", "le", number(most), float64(h.within[i]))
	}
	e.sample(name+"_bucket", "le", "+Inf", float64(h.count))
	e.sample(name+"_sum", "", "", h.sum)
	e.sample(name+"_count", "", "", float64(h.count))
}

var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (e *exposition) head(k kind, name, help string) {
	e.text.WriteString("# HELP " + name + " " + helpText.Replace(help) + "\n# TYPE " + name + " " + string(k) + "\n")
}

func (e *exposition) sample(name, label, labelValue string, value float64) {
	e.text.WriteString(name)
	if label != "" {
		e.text.WriteString("{" + label + `="` + labelText.Replace(labelValue) + `"}`)
	}
	e.text.WriteString(" " + number(value) + "\n")
}

// number returns a number as Prometheus reads it.
func number(f float64) string {
	if math.IsInf(f, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// A histogram counts observations.
type histogram struct {
	bounds []float64 // in rising order, without +Inf
	within []uint64  // how many observations are at most the bound
	count  uint64
	sum    float64
}

// newHistogram returns a histogram with so many bounds, each a factor above the one
// before.
func newHistogram(first, factor float64, bounds int) histogram {
	h := histogram{within: make([]uint64, bounds)}
	for range bounds {
		h.bounds = append(h.bounds, first)
		first *= factor
	}
	return h
}

func (h *histogram) observe(value float64) {
	h.count++
	h.sum += value
	for i, most := range h.bounds {
		if value <= most {
			h.within[i]++
		}
	}
}
