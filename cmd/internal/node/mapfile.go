package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The places of a node's map, unless a flag names another one.
const (
	// DefaultMap is the operator's own map. If it is there, it counts.
	DefaultMap = "/etc/mirrorcred/mirrors.toml"
	// DeliveredDir is where the cluster delivers a map to: whatever lies there may
	// say only what the node allows.
	DeliveredDir = "/etc/mirrorcred/delivered"
	// DeliveredMap is the map in it.
	DeliveredMap = DeliveredDir + "/mirrors.toml"
	// AllowedFile has what the node allows a delivered map.
	AllowedFile = "/etc/mirrorcred/allowed.toml"
)

// MaxDelivered is the largest delivered map, in bytes: a ConfigMap holds no more.
const MaxDelivered = 1 << 20

// A Source says which map was read last, and where it came from.
type Source struct {
	File string // on this machine
	// Hash is the SHA-256 of the file in hexadecimal, "" if it could not be read.
	Hash string
	// Delivered says that the map came from the cluster.
	Delivered bool
	// Unused is a delivered map that does not count, because the node has a map of
	// its own; "" if there is none.
	Unused string
}

// generation names the version of a map: the beginning of its hash.
func (s Source) generation() string { return s.Hash[:min(12, len(s.Hash))] }

// Source returns which map was read last.
func (n *Node) Source() Source { return n.source }

// A choice is between the operator's own map and the delivered one.
type choice struct {
	// isOpen says that no flag names the map.
	isOpen bool
	// isOwn says that the operator's own map was there at the last reading, and gone
	// is when it was first missing since, by the time since boot.
	isOwn bool
	gone  time.Duration
}

// renaming is how long the operator's own map may be missing while a program
// replaces it. Meanwhile the delivered map does not take its place.
const renaming = 2 * time.Second

// noMap is the fault of a map that is not there: [fs.ErrNotExist].
func noMap(path string) error {
	return &fault.Fault{
		What: "there is no map", Where: path, Found: "no such file", Cause: fs.ErrNotExist,
		Fix: "create it (the smallest is: version = 1), or pass --map FILE", Until: plan.NotApplied,
	}
}

// choose sets n.Map to the map that takes effect now.
func (n *Node) choose() error {
	n.source = Source{}
	if !n.choice.isOpen {
		n.source.Delivered = n.isDelivered(n.Map)
		return nil
	}
	own, delivered := n.path(DefaultMap), n.path(DeliveredMap)
	_, err := n.tree.Lstat(delivered)
	isDelivered := err == nil
	if _, err := n.tree.Lstat(own); !errors.Is(err, fs.ErrNotExist) {
		n.Map, n.choice.isOwn, n.choice.gone = own, true, 0
		if n.source.Delivered = n.isDelivered(own); isDelivered && !n.source.Delivered {
			n.source.Unused = delivered
		}
		return nil
	}
	if isBack, err := n.mayComeBack(); err != nil {
		return err
	} else if isBack && isDelivered {
		return &fault.Fault{
			What: "the node's own map is gone", Where: own, Found: "no such file", Until: plan.NotApplied,
			Fix: fmt.Sprintf("put it back, or wait: the map from the cluster takes effect if it stays away for %s", renaming),
		}
	}
	n.source.Delivered = isDelivered || n.Map == delivered // one that has vanished is missed
	if n.Map = own; n.source.Delivered {
		n.Map = delivered
	}
	return nil
}

// mayComeBack reports whether a program may be replacing the operator's own map.
func (n *Node) mayComeBack() (bool, error) {
	if !n.choice.isOwn {
		return false, nil
	}
	now, err := n.host.now()
	if err != nil {
		return false, err
	}
	if n.choice.gone == 0 {
		n.choice.gone = now.Since
	}
	n.choice.isOwn = now.Since-n.choice.gone < renaming
	return n.choice.isOwn, nil
}

// isDelivered reports whether a path is below the directory of delivered maps, or
// leads there by links.
func (n *Node) isDelivered(path string) bool {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	for range maxLinks {
		if n.isBelowDelivered(path) {
			return true
		}
		to, err := n.tree.Readlink(path)
		if err != nil {
			return false
		}
		path = n.newTrust().target(filepath.Dir(path), to)
	}
	return true // it leads nowhere
}

// isBelowDelivered is [Node.isDelivered] without links at the end of the path.
func (n *Node) isBelowDelivered(path string) bool {
	dir := n.path(DeliveredDir)
	want, errWant := n.tree.Stat(dir)
	for at := filepath.Dir(path); at != "/"; at = filepath.Dir(at) {
		if at == dir {
			return true
		}
		if info, err := n.tree.Stat(at); err == nil && errWant == nil && os.SameFile(info, want) {
			return true
		}
	}
	return false
}

// readMapFile reads the map that takes effect. A delivered map is not a link: the
// directory is shared with a pod, which must not show another file.
func (n *Node) readMapFile() ([]byte, fs.FileInfo, error) {
	if err := n.choose(); err != nil {
		return nil, nil, err
	}
	n.source.File = n.Map
	n.mapStamp = n.stampOfMap() // before it is read: a change in between is seen
	read, most := n.tree.Read, int64(0)
	if n.source.Delivered {
		read, most = n.tree.ReadNoFollow, MaxDelivered
	}
	data, info, err := read(n.Map, most)
	switch {
	case errors.Is(err, fs.ErrNotExist) && n.source.Delivered && n.choice.isOpen:
		return nil, nil, &fault.Fault{
			What: "the map from the cluster is gone", Where: n.Map, Found: "no such file",
			Fix: "deliver it again, or create " + n.path(DefaultMap), Until: plan.NotApplied,
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, noMap(n.Map)
	case err != nil:
		return nil, nil, describe(err)
	}
	n.source.Hash = hosts.Hash(data)
	return data, info, nil
}

// A parsing is all that decides what [Node.parseMap] returns.
type parsing struct {
	file, hash string
	isClosed   bool
	// For a map from the cluster, the node's list, which may be missing.
	isDelivered, hasList bool
	list                 string
}

// parseMap parses the map that was read: one from the cluster may say only what
// the node allows. It parses it only if something changed since the last time. The
// paths of the result can be set; what it points to stays as it is.
func (n *Node) parseMap(data []byte) (*mirror.Map, error) {
	of := parsing{file: n.Map, hash: n.source.Hash, isClosed: n.closed, isDelivered: n.source.Delivered}
	if of.isDelivered {
		var err error
		if of.list, of.hasList, err = n.readAllowed(); err != nil {
			return nil, err
		}
	}
	if n.parsed.m == nil || n.parsed.of != of {
		var versions *mirror.Versions
		if n.Remember > 0 {
			versions = &n.versions
		}
		m, err := of.parse(versions, data, n.path(AllowedFile))
		if err != nil {
			return nil, err
		}
		n.parsed.of, n.parsed.m = of, m
	}
	m := *n.parsed.m
	return &m, nil
}

func (of parsing) parse(versions *mirror.Versions, data []byte, listFile string) (*mirror.Map, error) {
	switch {
	case of.isDelivered && of.hasList:
		allowed, err := mirror.ParseAllowed(listFile, []byte(of.list))
		if err != nil {
			return nil, err
		}
		return versions.ParseDelivered(of.file, data, allowed)
	case of.isDelivered:
		return versions.ParseDelivered(of.file, data, mirror.NothingAllowed(listFile))
	case of.isClosed:
		return versions.ParseClosed(of.file, data)
	}
	return versions.Parse(of.file, data)
}

// readAllowed reads what the node allows a map from the cluster; without a file
// that is nothing.
func (n *Node) readAllowed() (list string, exists bool, err error) {
	path := n.path(AllowedFile)
	if err := n.newTrust().check(path); err != nil {
		return "", false, untrusted("other users can change what a map from the cluster may say", err)
	}
	data, _, err := n.tree.Read(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, describe(err)
	}
	return string(data), true, nil
}

// ParseMap reads and parses the map for a command that only shows what is there:
// who else may write it does not matter. A missing map is [fs.ErrNotExist].
func (n *Node) ParseMap() (*mirror.Map, error) {
	if err := n.checkRoot(); err != nil {
		return nil, err
	}
	data, _, err := n.readMapFile()
	if err != nil {
		return nil, err
	}
	n.closed = true // nothing secret is shown
	m, err := n.parseMap(data)
	if err != nil {
		return nil, err
	}
	n.usePaths(m)
	n.useKubeconfig(m)
	return m, nil
}

// noteSource notes which map takes effect if there could be another one.
func (n *Node) noteSource(p *plan.Plan) {
	switch s := n.source; {
	case s.Delivered:
		p.Notes = append(p.Notes, fmt.Sprintf("the map comes from the cluster: %s", s.File))
	case s.Unused != "":
		p.Notes = append(p.Notes, fmt.Sprintf("%s is the node's own map, so the map from the cluster has no effect: %s; remove the former to use the latter", s.File, s.Unused))
	}
}

// mapFiles are the files that say what the node should be like.
func (n *Node) mapFiles() []string {
	files := []string{n.Map}
	if n.choice.isOpen {
		files = []string{n.path(DefaultMap), n.path(DeliveredMap)}
	}
	if n.source.Delivered {
		files = append(files, n.path(AllowedFile))
	}
	return files
}
