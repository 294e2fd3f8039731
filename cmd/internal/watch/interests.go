package watch

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// interests are the directories to watch, and what matters in each.
type interests map[string]directory

// A directory is one on the way to something that matters.
type directory struct {
	identity identity
	all      bool     // every name in it matters
	names    []string // otherwise only these
}

// An identity tells a directory from one that replaced it.
type identity struct{ device, inode uint64 }

func identityOf(info fs.FileInfo) identity {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(stat.Dev), stat.Ino}
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// A search finds what to watch.
type search struct {
	root  string // of another machine; see [Events]
	found interests
	links map[string]string // that were found, with where they lead
	// before and linksBefore are what the last search for the same paths found, before nil
	// if none of it counts: what had no change since is still the same.
	before      interests
	linksBefore map[string]string
	changed     map[string]bool // paths with a change since
	// doubtful are directories of this search that may not be those of the one before.
	doubtful map[string]bool
	// isMoved says that a link leads elsewhere than before, so that the last search did not
	// come by all of the same paths.
	isMoved bool
}

// add adds what can change a path: each name on the way to it, in its
// directory, and for a link the way to its target too. So names are enough: a
// ConfigMap volume changes by renaming a link with another name, which is on
// the way.
func (s *search) add(path string, links int) {
	dir := "/"
	if !s.enter(dir) {
		return
	}
	names := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, name := range names {
		if strings.ContainsAny(name, `*?[\`) {
			s.found.all(dir)
			return
		}
		s.found.one(dir, name)
		at := join(dir, name)
		if s.found.has(at) {
			dir = at
			continue
		}
		if target, isLink := s.readlink(dir, at); isLink {
			s.links[at] = target
			if links < maxLinks {
				s.add(filepath.Join(target, filepath.Join(names[i+1:]...)), links+1)
			}
			return
		}
		if i == len(names)-1 || !s.enter(at) {
			return
		}
		dir = at
	}
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// leadsTo returns where a link in a directory leads. Below a root it does not
// lead out.
func leadsTo(root, dir, target string) string {
	below, isBelow := strings.CutPrefix(dir, root)
	if root == "" || !isBelow || below != "" && below[0] != '/' {
		root, below = "/", dir
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/", below, target)
	}
	return filepath.Join(root, filepath.Clean(target))
}

func (in interests) has(dir string) bool {
	_, ok := in[dir]
	return ok
}

// isSame reports whether a path is what it was when the last search came by.
func (s *search) isSame(path string) bool {
	return s.before != nil && !s.changed[path] && !s.doubtful[filepath.Dir(path)]
}

// readlink returns where a path in a directory leads, false if it is not a link.
func (s *search) readlink(dir, path string) (string, bool) {
	if s.isSame(path) {
		target, isLink := s.linksBefore[path]
		return target, isLink
	}
	target, err := os.Readlink(path)
	isLink := err == nil
	if isLink {
		target = leadsTo(s.root, dir, target)
	}
	if was, wasLink := s.linksBefore[path]; was != target || wasLink != isLink {
		s.isMoved = true
	}
	return target, isLink
}

// enter adds a directory in which nothing matters yet, and reports whether it
// exists.
func (s *search) enter(path string) bool {
	if s.found.has(path) {
		return true
	}
	if s.isSame(path) {
		d, wasThere := s.before[path]
		if wasThere {
			s.found[path] = directory{identity: d.identity}
		}
		return wasThere
	}
	s.doubtful[path] = true
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	s.found[path] = directory{identity: identityOf(info)}
	return true
}

func (in interests) all(dir string) {
	in[dir] = directory{identity: in[dir].identity, all: true}
}

func (in interests) one(dir, name string) {
	d := in[dir]
	if !d.all && !slices.Contains(d.names, name) {
		d.names = append(d.names, name)
		in[dir] = d
	}
}

// matter reports whether a change of a path matters. An unknown path was
// watched until a moment ago, so it counts.
func (in interests) matter(path string) bool {
	d, ok := in[filepath.Dir(path)]
	return !ok || d.all || slices.Contains(d.names, filepath.Base(path))
}

func (in interests) equal(other interests) bool {
	return maps.EqualFunc(in, other, func(a, b directory) bool {
		return a.identity == b.identity && a.all == b.all && slices.Equal(a.names, b.names)
	})
}
