package explain

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Place says where a node keeps its files; each path is the node's own.
type Place struct {
	Root          string // "" for the machine itself
	KubeletConfig string // a file or a directory
	HostsDir      string // where containerd reads hosts.toml if no route says so
	Version       hosts.Version
}

// Observe reads what a node has about an image. What cannot be read is a fault
// in the result.
func Observe(p Place, image mirror.Image) Observed {
	s := Observed{Image: image, KubeletConfig: p.KubeletConfig, Routes: plan.RoutesDir, Version: p.Version}
	l := observer{input.NewRoot(p.Root), p.Root}
	s.Providers, s.ProviderFault = provider.Read(l.root, l.at(p.KubeletConfig))
	for _, entry := range s.Providers {
		if dir := entry.Routes(); dir != "" {
			s.Routes = dir
			break
		}
	}
	var err error
	if s.Own, err = l.route(s.Routes, hosts.Candidates(image.Host())[0]); err != nil {
		s.RouteFault = err
	}
	if s.Wildcard, err = l.route(s.Routes, hosts.Default); err != nil {
		s.RouteFault = err
	}
	s.Now.Dir = p.HostsDir
	if s.Own != nil {
		s.Now.Dir = s.Own.HostsDir
	} else if s.Wildcard != nil {
		s.Now.Dir = s.Wildcard.HostsDir
	}
	s.Now, s.HostsFault = l.observe(s.Now.Dir, image.Host())
	if s.Stopped = armed.Stopped(p.Root); s.Stopped == nil {
		s.Stopped = armed.Check(p.Root, s.Routes, s.Now.Dir)
	}
	return s
}

// An observer reads below a root.
type observer struct {
	root *input.Root
	dir  string
}

func (l observer) at(parts ...string) string {
	return filepath.Join(append([]string{l.dir, "/"}, parts...)...)
}

// route reads the route of a namespace; nil if it has none.
func (l observer) route(dir, namespace string) (*route.Route, error) {
	path := l.at(dir, namespace+".json")
	data, err := l.root.ReadFile(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := route.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", path, err)
	}
	return &r, nil
}

// observe reads what containerd reads for a host.
func (l observer) observe(dir, host string) (route.Observed, error) {
	for _, name := range hosts.Candidates(host) {
		_, err := l.root.Stat(l.at(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return route.Observed{Dir: dir}, err
		}
		data, err := l.root.ReadFile(l.at(dir, name, hosts.FileName), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return route.Observed{Dir: dir, Namespace: name}, err
		}
		return route.Observed{Dir: dir, Namespace: name, Hosts: data}, nil
	}
	return route.Observed{Dir: dir}, nil
}
