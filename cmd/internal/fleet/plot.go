package fleet

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Picture returns the results as an SVG: the registry's minutes after a map change, and
// the token service's average and busiest minute by who caches.
func Picture(list []*Result) []byte {
	var p pen
	p.text(pictureHead)
	p.changes(list)
	p.caches(list)
	p.text("</svg>\n")
	return []byte(p.b.String())
}

// The two panels, and the range of both logarithmic axes.
const (
	left, right          = 90, 800 // of both
	top, bottom          = 90, 330 // of the first
	rowsTop, rowsBottom  = 440, 600
	lastMinute           = 30
	leastShown, mostShow = 10, 200_000
)

type pen struct{ b strings.Builder }

func (p *pen) text(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

// share returns where n is on a logarithmic axis, from 0 to 1.
func share(n int) float64 {
	return math.Log(float64(max(n, leastShown))/leastShown) / math.Log(float64(mostShow)/leastShown)
}

func height(n int) float64 { return bottom - share(n)*(bottom-top) }
func width(n int) float64  { return left + share(n)*(right-left) }
func minuteAt(m int) float64 {
	return left + float64(m)*(right-left)/lastMinute
}

// changes draws the first panel.
func (p *pen) changes(list []*Result) {
	p.text(`  <text class="title" x="%d" y="28">Requests to the registry in each minute after a map change</text>`+"\n", left)
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		p.text(`  <path class="grid" d="M%d %.1fH%d"/><text class="note" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, height(n), right, left-8, height(n)+4, number(n))
	}
	for m := 0; m <= lastMinute; m += 5 {
		p.text(`  <path class="axis" d="M%.1f %dv5"/><text class="note" x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", minuteAt(m), bottom, minuteAt(m), bottom+20, m)
	}
	p.text(`  <path class="axis" d="M%d %dV%dH%d"/>`+"\n", left, top, bottom, right)
	p.text(`  <text class="note" x="%d" y="%d" text-anchor="middle">minutes since the change</text>`+"\n", (left+right)/2, bottom+40)
	p.text(`  <text class="note" transform="translate(22 %d) rotate(-90)" text-anchor="middle">requests in a minute</text>`+"\n", (top+bottom)/2)
	for _, tier := range []struct {
		name string
		n    int
	}{{"Premium", Premium}, {"Standard", standard}, {"Basic", basic}} {
		p.text(`  <path class="limit" d="M%d %.1fH%d"/><text class="limitname" x="%d" y="%.1f">%s, %s</text>`+"\n", left, height(tier.n), right, right+6, height(tier.n)+4, tier.name, number(tier.n))
	}
	line := 0
	for _, r := range list {
		class, name := "", ""
		switch r.Scenario {
		case Change:
			class, name = "good", fmt.Sprintf("spread over %.0f s, by the rule", Jitter(r.Nodes, 1).Seconds())
		case ChangeSoon:
			class, name = "bad", "within 30 s, and the registry serves all"
		case ChangeBusy:
			class, name = "busy", "within 30 s, and it answers 429 above 10,000"
		default:
			continue
		}
		p.steps(class, r.Minutes)
		x, y := right-330, top-30+18*line
		p.text(`  <path class="%s" d="M%d %dh24"/><text class="note" x="%d" y="%d">%s</text>`+"\n", class, x, y-4, x+32, y, name)
		line++
	}
}

// steps draws counts by the minute as stairs.
func (p *pen) steps(class string, counts []int) {
	p.text(`  <path class="%s" d="M%d %d`, class, left, bottom)
	for m := range lastMinute {
		n := 0
		if m < len(counts) {
			n = counts[m]
		}
		p.text("V%.1fH%.1f", height(n), minuteAt(m+1))
	}
	p.text(`"/>` + "\n")
}

// caches draws the second panel.
func (p *pen) caches(list []*Result) {
	p.text(`  <text class="title" x="%d" y="%d">Requests to the token service in a minute, by who caches</text>`+"\n", left, rowsTop-36)
	p.text(`  <circle class="ring" cx="%d" cy="%d" r="4"/><text class="note" x="%d" y="%d">the average minute</text><circle class="full" cx="%d" cy="%d" r="4"/><text class="note" x="%d" y="%d">the busiest one</text>`+"\n", left+4, rowsTop-18, left+14, rowsTop-14, left+164, rowsTop-18, left+174, rowsTop-14)
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		p.text(`  <path class="grid" d="M%.1f %dV%d"/><text class="note" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", width(n), rowsTop, rowsBottom, width(n), rowsBottom+20, number(n))
	}
	p.text(`  <path class="axis" d="M%d %dV%dH%d"/>`+"\n", left, rowsTop, rowsBottom, right)
	p.text(`  <text class="note" x="%d" y="%d" text-anchor="middle">requests in a minute</text>`+"\n", (left+right)/2, rowsBottom+40)
	for row, name := range []string{Steady, Cron} {
		p.text(`  <text class="note" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, rowsTop+76*row+42, []string{"steady", "on the hour"}[row])
		at := 0
		for _, r := range list {
			if r.Scenario == name {
				p.minute(r, rowsTop+76*row+16+22*at)
				at++
			}
		}
	}
}

// minute draws the average and the busiest minute of a day at the token service.
func (p *pen) minute(r *Result, y int) {
	class := map[string]string{Caching(0).String(): "good", Caching(time.Hour).String(): "busy"}[r.Caching]
	if class == "" {
		class = "bad"
	}
	average := r.Token.Total / (24 * 60)
	from, to := width(average), width(r.Token.Minute)
	p.text(`  <path class="%s" d="M%.1f %dH%.1f"/><circle class="dot%[1]s" cx="%.1[4]f" cy="%[3]d" r="4"/><circle class="ring %[1]s" cx="%.1[2]f" cy="%[3]d" r="4"/>`, class, from, y, to)
	p.text(`<text class="note" x="%.1f" y="%d">%s: %s, %s</text>`+"\n", to+10, y+4, r.Caching, number(average), number(r.Token.Minute))
}

const pictureHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 930 660" width="930" height="660" role="img" aria-labelledby="title desc">
  <title id="title">The requests of 10,000 nodes</title>
  <desc id="desc">Above: requests to the registry in each minute after a map change. If the nodes restart their kubelets within 30 seconds, there are more than 100,000 in one minute; spread by the rule, they stay below the limit of one Premium registry. Below: requests to the token service in the average and in the busiest minute, with mirrorcred's token cache and with the kubelet's cache of 60 and of 5 minutes.</desc>
  <style>
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .note { fill: #59636e; }
    .paper { fill: #ffffff; }
    .grid { fill: none; stroke: #d1d9e0; stroke-width: 1; }
    .axis { fill: none; stroke: #59636e; stroke-width: 1.3; }
    .limit { fill: none; stroke: #9a6700; stroke-width: 1.3; stroke-dasharray: 6 4; }
    .limitname { fill: #9a6700; font-size: 12px; }
    .good { fill: none; stroke: #1a7f37; stroke-width: 2.5; }
    .bad { fill: none; stroke: #cf222e; stroke-width: 2; }
    .busy { fill: none; stroke: #0a5fb4; stroke-width: 2; }
    .ring { fill: #ffffff; stroke-width: 2; stroke: #59636e; }
    .ring.good { stroke: #1a7f37; }
    .ring.bad { stroke: #cf222e; }
    .ring.busy { stroke: #0a5fb4; }
    .full { fill: #59636e; }
    .dotgood { fill: #1a7f37; }
    .dotbad { fill: #cf222e; }
    .dotbusy { fill: #0a5fb4; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9da7b3; }
      .paper { fill: #0d1117; }
      .grid { stroke: #30363d; }
      .axis { stroke: #9da7b3; }
      .limit { stroke: #d29922; }
      .limitname { fill: #d29922; }
      .good { stroke: #3fb950; }
      .bad { stroke: #f85149; }
      .busy { stroke: #79b8ff; }
      .ring { fill: #0d1117; stroke: #9da7b3; }
      .ring.good { stroke: #3fb950; }
      .ring.bad { stroke: #f85149; }
      .ring.busy { stroke: #79b8ff; }
      .full { fill: #9da7b3; }
      .dotgood { fill: #3fb950; }
      .dotbad { fill: #f85149; }
      .dotbusy { fill: #79b8ff; }
    }
  </style>
  <rect class="paper" width="930" height="660"/>
`
