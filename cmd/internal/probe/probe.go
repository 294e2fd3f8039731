// Package probe asks the registries of a mirror map whether they would serve this node.
// If one would not, it returns a named finding with the reason.
//
// It gets the credential as the kubelet does (package provider), and the registries from
// the hosts.toml in force (package hosts). It asks them as containerd would, with the
// same TLS files, headers and token exchange: one request at a time, and never the source
// of a mirror. Its findings have no part of a credential. Start at [Prober.All].
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Prober asks the registries of a map.
type Prober struct {
	Mirrors *mirror.Map
	Place   explain.Place
	Runner  provider.Runner
	// Log is the plugin's log, which has the images that were pulled last.
	Log string
	// Proxy says which proxy containerd uses; nil means none.
	Proxy func(*http.Request) (*neturl.URL, error)
	// Limit is how long one request may take; 0 means 10 seconds.
	Limit time.Duration

	found []doctor.Finding
	asked map[string]bool // the requests that need not be sent again
}

// noImage stands for an image if none is known. The plugin is run with it, but no
// registry is asked for it.
const noImage = "mirrorcred-probe"

// An aim is one mirror to probe, with an image if one is known.
type aim struct {
	mirror mirror.Mirror
	image  mirror.Image
	known  bool // the image was named or pulled; else only the registry's API is asked
	exact  bool // its tag is known too
}

// All asks the targets of all mirrors, each for the image that was pulled last
// through it.
func (p *Prober) All(ctx context.Context) []doctor.Finding {
	last := p.lastPulled()
	for _, m := range p.Mirrors.Mirrors {
		one := aim{mirror: m}
		host := m.Source.String()
		if m.Source.Any() {
			host = "mirrorcred.invalid"
		}
		one.image, one.known = last[m.Source.String()]
		if !one.known {
			var err error
			if one.image, err = mirror.ParseImage(host + "/" + noImage); err != nil {
				continue // "*" with a host that cannot be one
			}
		}
		p.probe(ctx, one)
	}
	return p.found
}

// Image asks the targets of one image.
func (p *Prober) Image(ctx context.Context, image mirror.Image) []doctor.Finding {
	m, ok := p.Mirrors.Resolve(image)
	if !ok {
		p.add(doctor.ProbeSkipped, image.Host(), "the map does not name it, so it is a source and is not asked", "name an image of a mirror in the map")
		return p.found
	}
	p.probe(ctx, aim{m, image, true, true})
	return p.found
}

func (p *Prober) add(name, where, text, repair string) {
	p.found = append(p.found, doctor.Finding{Name: name, Where: where, Text: text, Repair: repair})
}

// lastPulled returns, for each source, the last image that the plugin returned a
// credential for. The log does not have tags.
func (p *Prober) lastPulled() map[string]mirror.Image {
	last := map[string]mirror.Image{}
	log := audit.Open(input.NewRoot(p.Place.Root), p.Log)
	defer log.Close()
	_ = log.Next(func(line []byte) error { // what cannot be read is not known
		e, ok := audit.Decode(line)
		if !ok || e.Outcome != audit.Answered && e.Outcome != audit.Empty {
			return nil
		}
		image, err := mirror.ParseImage(e.Image)
		if err != nil || image.Repository() == noImage || strings.HasSuffix(image.Repository(), "/"+noImage) {
			return nil
		}
		// The plugin returns nothing for a credential that is in hosts.toml.
		if m, ok := p.Mirrors.Resolve(image); ok && (e.Outcome == audit.Answered || m.Delivers()) {
			last[m.Source.String()] = image
		}
		return nil
	})
	return last
}

// probe asks the targets of one mirror.
func (p *Prober) probe(ctx context.Context, a aim) {
	where := a.mirror.Source.String()
	seen := explain.Observe(p.Place, a.image)
	e := explain.Explain(seen)
	switch {
	case e.Containerd.Fault != "":
		p.skip(where, e.Containerd.Fault)
		return
	case e.Plugin.Fault != "":
		p.skip(where, e.Plugin.Fault)
		return
	}
	endpoints, err := hosts.Read(seen.Now.Hosts, a.image.Host(), p.Place.Version)
	if err != nil {
		p.skip(where, err.Error())
		return
	}
	registries := p.credentials(ctx, a, seen, e)
	targets := slices.DeleteFunc(endpoints, func(e hosts.Endpoint) bool { return p.isSource(a, e) })
	if len(targets) == 0 {
		p.skip(where, "containerd would ask the source itself")
	}
	asked := false
	for _, e := range targets {
		asked = p.endpoint(ctx, a, seen, e, registries[registryOf(e)]) || asked
	}
	if asked && !a.known {
		p.add(doctor.ProbeLimited, where, "no pull through this mirror is in the plugin's log, so only the login was tried, and not an image", "mirrorcred check --probe --image IMAGE")
	}
}

func (p *Prober) skip(where, why string) {
	why, _, _ = strings.Cut(why, "; ")
	p.add(doctor.ProbeSkipped, where, "its registries were not asked: "+why, "repair what the other findings say")
}

// isSource reports whether an endpoint is the source of a mirror, which must not be
// asked. A registry that is its own only target may be.
func (p *Prober) isSource(a aim, e hosts.Endpoint) bool {
	host := a.image.Host()
	is := e.Source || hosts.Serves(registryOf(e), host)
	alone := len(a.mirror.Targets) == 1 && a.mirror.Targets[0].Self() && len(a.mirror.Targets[0].Credentials) > 0
	return is && !alone
}

// registryOf returns the registry of an endpoint without a default port.
func registryOf(e hosts.Endpoint) string {
	if e.Scheme == "http" {
		return strings.TrimSuffix(e.Host, ":80")
	}
	return strings.TrimSuffix(e.Host, ":443")
}

// endpoint asks one registry, as a pull would: first without a credential, and then with
// each in turn until one is accepted. It reports whether it did: requests that were sent
// for another mirror are not sent again. r is nil if the map names no credential.
func (p *Prober) endpoint(ctx context.Context, a aim, seen explain.Observed, e hosts.Endpoint, r *registry) bool {
	q := question{aim: a, endpoint: e, where: e.Scheme + "://" + e.Host, limit: p.Limit}
	if r == nil {
		r = &registry{}
	}
	tries := r.tries()
	if len(tries) == 0 {
		if len(r.logins) == 0 {
			p.add(doctor.ProbeSkipped, q.where, "it was not asked: its credentials need the token of a pod, and there is no pod here", "start a pod with an image of "+a.mirror.Source.String())
		}
		return false // the plugin returned none, which was reported
	}
	if q.limit == 0 {
		q.limit = 10 * time.Second
	}
	api := q.where
	for _, l := range tries {
		api += fmt.Sprintf(" %q %s", l.Username, l.Password.Reveal())
	}
	key := api
	if a.known {
		key += " " + a.image.Name()
	}
	if p.asked == nil {
		p.asked = map[string]bool{}
	}
	if p.asked[key] {
		return false
	}
	p.asked[api], p.asked[key] = true, true
	dir := filepath.Join(p.Place.Root, "/", seen.Now.Dir, seen.Now.Namespace)
	var err error
	if q.client, err = client.New(client.Files{Root: p.Place.Root, Dir: dir}, e, p.Proxy); err != nil {
		p.add(doctor.ProbeTLS, q.where, err.Error(), "mirrorcred check")
		return true
	}
	defer q.client.CloseIdleConnections()
	for _, f := range q.askInTurn(ctx, tries) {
		if !slices.Contains(p.found, f) {
			p.found = append(p.found, f)
		}
	}
	return true
}

// askInTurn asks with one login after the other until one is not refused. What is
// found with the others counts only if all are refused.
func (q question) askInTurn(ctx context.Context, tries []login) []doctor.Finding {
	var all []doctor.Finding
	for _, q.login = range tries {
		found := q.ask(ctx)
		if !slices.ContainsFunc(found, refuses) {
			return found
		}
		if q.login.name != "" || len(all) == 0 {
			all = append(all, found...)
		}
	}
	return all
}

// refuses reports whether a finding is that a registry refuses a credential, or wants
// another one.
func refuses(f doctor.Finding) bool {
	switch f.Name {
	case doctor.ProbeUnauthorized, doctor.ProbeAudience, doctor.ProbeForbidden, doctor.ProbeNeedsCredential:
		return true
	}
	return false
}

// errTooLong is the cause of a request that took longer than its limit.
var errTooLong = errors.New("no answer in time")
