package config

import (
	"hash/fnv"
	"maps"
	"slices"
)

// shrink takes things out of a tree for as long as keep holds, and returns what
// keep returned for the smallest.
func shrink[T any](t *Tree, keep func(*Tree) (T, bool)) T {
	best, _ := keep(t)
	for again := true; again; {
		again = false
		for _, smaller := range smallerTrees(t) {
			if said, ok := keep(smaller); ok {
				t, best, again = smaller, said, true
				break
			}
		}
	}
	return best
}

// smallerTrees returns trees with one thing less, the big things first.
func smallerTrees(t *Tree) []*Tree {
	var all []*Tree
	without := func(change func(*Tree)) {
		c := t.Clone()
		change(c)
		all = append(all, c)
	}
	for _, name := range t.names() {
		without(func(c *Tree) { delete(c.Files, name) })
	}
	for _, name := range slices.Sorted(maps.Keys(t.Links)) {
		without(func(c *Tree) { delete(c.Links, name) })
		if target := t.Links[name]; t.Files[target] != nil {
			without(func(c *Tree) {
				delete(c.Links, name)
				c.Files[name] = c.Files[target]
				delete(c.Files, target)
			})
		}
	}
	for i := range t.Dirs {
		without(func(c *Tree) { c.Dirs = slices.Delete(c.Dirs, i, i+1) })
	}
	for _, name := range t.names() {
		f := t.Files[name]
		if f.Mark {
			without(func(c *Tree) { c.Files[name].Mark = false })
		}
		if f.Style != 0 {
			without(func(c *Tree) { c.Files[name].Style = 0 })
		}
		for _, path := range paths(f.Table, nil) {
			without(func(c *Tree) { remove(c.Files[name].Table, path) })
		}
		if list, ok := f.Table["imports"].([]any); ok {
			for i := range list {
				without(func(c *Tree) { c.Files[name].Table["imports"] = slices.Delete(slices.Clone(list), i, i+1) })
			}
		}
	}
	return all
}

// paths returns the path of each key of a table, those on top first.
func paths(t map[string]any, prefix []string) [][]string {
	var all [][]string
	for _, k := range sortedKeys(t) {
		all = append(all, append(slices.Clone(prefix), k))
	}
	for _, k := range sortedKeys(t) {
		if sub, ok := t[k].(map[string]any); ok {
			all = append(all, paths(sub, append(slices.Clone(prefix), k))...)
		}
	}
	return all
}

func remove(t map[string]any, path []string) {
	for _, k := range path[:len(path)-1] {
		t = t[k].(map[string]any)
	}
	delete(t, path[len(path)-1])
}

func hash(s string) uint32 {
	h := fnv.New32()
	h.Write([]byte(s))
	return h.Sum32()
}
