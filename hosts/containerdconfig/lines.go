package containerdconfig

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines returns the line of a path of keys, or 0. Keys that the library finds in
// another spelling are found here too.
type lines func(key ...string) int

// keyLines finds the line of each key.
func keyLines(data []byte) lines {
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i)
		}
	}
	found := map[string]int{}
	note := func(path []string, offset uint32) {
		for _, k := range []string{join(path), strings.ToLower(join(path))} {
			if _, ok := found[k]; !ok {
				found[k] = sort.SearchInts(ends, int(offset)) + 1
			}
		}
	}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = noteKey(e, nil, note)
		case unstable.KeyValue:
			noteValue(e, table, note)
		}
	}
	return func(key ...string) int {
		return cmp.Or(found[join(key)], found[strings.ToLower(join(key))])
	}
}

func noteKey(n *unstable.Node, path []string, note func([]string, uint32)) []string {
	path = slices.Clone(path)
	for it := n.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		note(path, it.Node().Raw.Offset)
	}
	return path
}

func noteValue(n *unstable.Node, path []string, note func([]string, uint32)) {
	path = noteKey(n, path, note)
	if n.Value().Kind != unstable.InlineTable {
		return
	}
	for it := n.Value().Children(); it.Next(); {
		if it.Node().Kind == unstable.KeyValue {
			noteValue(it.Node(), path, note)
		}
	}
}

func join(key []string) string { return strings.Join(key, "\x00") }

// maxNesting keeps the libraries' recursion off the end of the stack, which a
// program does not survive.
const maxNesting = 10_000

// nesting returns a bound of how deep values and tables nest.
func nesting(data []byte) int {
	deepest, depth := 0, 0
	for line := range bytes.Lines(data) {
		dots := bytes.Count(line, []byte{'.'})
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			deepest = max(deepest, depth+dots)
		}
	}
	return deepest
}
