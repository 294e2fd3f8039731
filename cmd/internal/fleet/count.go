package fleet

import (
	"slices"
	"time"
)

// A series counts requests by the second.
type series []int

func (s *series) add(since time.Duration) {
	second := int(since / time.Second)
	for len(*s) <= second {
		*s = append(*s, 0)
	}
	(*s)[second]++
}

// between returns the counts of a time, of its whole length.
func (s series) between(from, to time.Duration) series {
	list := make(series, int(to/time.Second)-int(from/time.Second))
	if first := int(from / time.Second); first < len(s) {
		copy(list, s[first:])
	}
	return list
}

// minutes returns the counts of whole minutes.
func (s series) minutes() []int {
	list := make([]int, (len(s)+59)/60)
	for second, n := range s {
		list[second/60] += n
	}
	return list
}

// busiestMinute returns the most that came in any 60 seconds.
func (s series) busiestMinute() int {
	most, sum := 0, 0
	for i, n := range s {
		sum += n
		if i >= 60 {
			sum -= s[i-60]
		}
		most = max(most, sum)
	}
	return most
}

// A Load is what came to one service.
type Load struct {
	P50, P99, Peak int // a second
	Minute         int // the most in any 60 seconds
	Total          int
}

func (s series) load() Load {
	l := Load{Minute: s.busiestMinute()}
	for _, n := range s {
		l.Total += n
	}
	sorted := slices.Sorted(slices.Values(s))
	if len(sorted) > 0 {
		l.P50, l.P99, l.Peak = sorted[(len(sorted)-1)/2], sorted[(len(sorted)-1)*99/100], sorted[len(sorted)-1]
	}
	return l
}

// A Result is what a scenario came to.
type Result struct {
	Scenario string
	Caching  string
	Nodes    int
	// Metadata is that of all nodes; OneNode is the most that one node asked in a
	// second.
	Metadata, Token, Data, Registry Load
	OneNode                         int
	Refused                         int // of the registry's requests, with 429
	// Ready is how long after the start all nodes had their images.
	Ready time.Duration
	// Unready is how many never had.
	Unready int
	// Minutes are the registry's requests, by the minute since From, as far as the
	// picture shows them.
	Minutes []int
}

func newResult(s Scenario, c *Cloud, nodes []*Node) *Result {
	r := &Result{Scenario: s.Name, Caching: nodes[0].keeps.String(), Nodes: len(nodes)}
	in := func(s Scenario, v Service) series { return c.served[v].between(s.From, s.To) }
	token, data := in(s, Token), in(s, Data)
	both := slices.Clone(token)
	for i, n := range data {
		both[i] += n
	}
	r.Metadata, r.Token, r.Data, r.Registry = in(s, Metadata).load(), token.load(), data.load(), both.load()
	r.Refused = c.refused.between(s.From, s.To).load().Total
	r.Minutes = both[:min(len(both), int(lastMinute*time.Minute/time.Second))].minutes()
	for _, n := range nodes {
		r.OneNode = max(r.OneNode, n.asked.most)
		r.Ready = max(r.Ready, n.ready.Sub(c.start))
		if n.ready.IsZero() {
			r.Unready++
		}
	}
	return r
}
