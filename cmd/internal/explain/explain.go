// Package explain says what happens when a node pulls an image, step by step:
// which credential providers the kubelet runs, what mirrorcred's plugin may
// return, which hosts.toml containerd reads, which registries it calls, and
// which of them is offered which credential.
//
// It decides nothing itself. [mirror.Pattern] says what the kubelet matches,
// [route.Decide] what the plugin returns, and [hosts.Read] what containerd
// calls. [Observe] reads what is needed, and [Explain] does the rest without a
// disk. Start there.
package explain

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Observed is what was found on a node about one image.
type Observed struct {
	Image         mirror.Image
	KubeletConfig string // path of the kubelet's CredentialProviderConfig
	Providers     []kubeletconfig.Entry
	ProviderFault error  // why the providers are unknown
	Routes        string // directory of the routes
	Own, Wildcard *route.Route
	RouteFault    error // why the routes are unknown
	Now           route.Observed
	HostsFault    error // why it is unknown what containerd reads
	// Stopped says why the plugin returns no credential on this node, whatever the
	// routes say; nil if it may.
	Stopped error
	Version hosts.Version // of containerd; the zero Version if unknown
}

// Explain returns what happens when the image is pulled.
func Explain(s Observed) Explanation {
	e := Explanation{Image: s.Image.String()}
	e.Kubelet = s.kubelet()
	e.Plugin = s.plugin()
	e.Containerd = s.containerd()
	if s.HostsFault == nil {
		e.Calls = s.calls(s.offered(e))
	}
	e.Source = sourceSees(s.Image.Host(), e.Calls)
	e.Works = e.Kubelet.Fault == "" && e.Containerd.Fault == "" && e.Plugin.Fault == "" && !e.unmatched()
	return e
}

// unmatched reports whether the plugin would return a credential but the
// kubelet does not run it.
func (e Explanation) unmatched() bool {
	return slices.ContainsFunc(e.Plugin.Offers, func(o Offer) bool { return o.Credential != "" }) &&
		!slices.ContainsFunc(e.Kubelet.Matches, func(m Match) bool { return m.Ours })
}

// kubelet finds the providers whose patterns match the image. The kubelet runs them
// all, in the order of the configuration.
func (s Observed) kubelet() Kubelet {
	k := Kubelet{Config: s.KubeletConfig, Matches: []Match{}}
	if s.ProviderFault != nil {
		k.Fault = s.ProviderFault.Error()
	}
	for _, entry := range s.Providers {
		if text, ok := provider.Match(entry, s.Image); ok {
			k.Matches = append(k.Matches, Match{entry.Name, text, entry.Line, entry.Routes() != ""})
		}
	}
	return k
}

// plugin decides as the plugin does.
func (s Observed) plugin() Plugin {
	p := Plugin{Offers: []Offer{}}
	own, wildcard := s.Own, s.Wildcard
	switch {
	case s.RouteFault != nil:
		p.Fault = s.RouteFault.Error()
		return p
	case s.HostsFault != nil:
		p.Fault = s.HostsFault.Error()
		return p
	case own != nil:
		p.Route = own.Source
	case wildcard != nil:
		p.Route = wildcard.Source
	default:
		p.Reason = fmt.Sprintf("there are no routes in %s: mirrorcred has not been applied here", s.Routes)
		return p
	}
	offers, err := route.Decide(s.Image, own, wildcard, s.Now)
	if err != nil {
		p.Fault = err.Error()
		return p
	}
	secret := false
	for _, o := range offers {
		one := Offer{Registry: o.Query.Registry.String(), Image: o.Query.Image}
		if o.Credential != nil {
			one.Credential, secret = o.Credential.Name, true
		}
		if one.Image == "" { // the source itself, in the mirror of "*"
			one.Registry, one.Image = s.Image.Host(), s.Image.Name()
		}
		p.Offers = append(p.Offers, one)
	}
	switch {
	case secret && s.Stopped != nil:
		p.Offers, p.Fault = []Offer{}, s.Stopped.Error()
	case len(offers) == 0 && own != nil && len(own.Generations) > 0:
		if p.Reason = "the mirror is anonymous: no credential is needed"; own.Delivers() {
			p.Reason = "the credential is in hosts.toml: the kubelet needs none"
		}
	case len(offers) == 0:
		p.Reason = "the map does not name this registry"
	}
	return p
}

// containerd says which directory containerd picks.
func (s Observed) containerd() Containerd {
	c := Containerd{Dir: s.Now.Dir, Namespace: s.Now.Namespace}
	if s.HostsFault != nil {
		c.Fault = s.HostsFault.Error()
		return c
	}
	for _, name := range hosts.Candidates(s.Image.Host()) {
		if name == s.Now.Namespace {
			break
		}
		c.Missing = append(c.Missing, name)
	}
	if s.Stopped != nil && (s.Own != nil || s.Wildcard != nil) {
		c.Unsure = s.Stopped.Error()
	}
	if c.Namespace == "" {
		return c
	}
	switch {
	case len(s.Now.Hosts) == 0:
		c.Writer = "no program: there is no hosts.toml in it"
	case hosts.OwnerOf(s.Now.Hosts) == hosts.Ours:
		c.Writer = "mirrorcred"
	case hosts.OwnerOf(s.Now.Hosts) == hosts.Edited:
		c.Writer = "mirrorcred, and edited since"
	default:
		c.Writer = "another program"
	}
	if _, err := hosts.Read(s.Now.Hosts, s.Image.Host(), s.Version); err != nil {
		c.Fault = fmt.Sprintf("containerd ignores this file and asks the source itself: %v", err)
	}
	return c
}

// offered returns the credentials that the kubelet hands to containerd.
func (s Observed) offered(e Explanation) []string {
	list := []string{}
	for _, m := range e.Kubelet.Matches {
		if !m.Ours {
			list = append(list, fmt.Sprintf("what %s answers", m.Provider))
			continue
		}
		for _, o := range e.Plugin.Offers {
			if name := fmt.Sprintf("credential %s", o.Credential); o.Credential != "" && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// calls returns the registries that containerd calls, in its order.
func (s Observed) calls(offered []string) []Call {
	endpoints, _ := hosts.Read(s.Now.Hosts, s.Image.Host(), s.Version)
	list := make([]Call, 0, len(endpoints))
	for _, e := range endpoints {
		call := Call{URL: s.url(e), Offered: offered, Source: isSource(s.Image.Host(), e)}
		switch {
		case !slices.Contains(e.Capabilities, "resolve"):
			call.Limits = "is not asked which image a tag is"
		case !slices.Contains(e.Capabilities, "pull"):
			call.Limits = "is asked which image a tag is, and not for its content"
		}
		list = append(list, call)
	}
	return list
}

// isSource reports whether an endpoint is the registry that an image names.
func isSource(host string, e hosts.Endpoint) bool {
	return e.Source || hosts.Serves(e.Host, host)
}

// url returns the address of the manifest, as containerd asks for it: a mirror is
// told which registry the image names (core/remotes/docker/resolver.go, v2.4.2).
func (s Observed) url(e hosts.Endpoint) string {
	reference := "latest"
	rest := strings.TrimPrefix(s.Image.String(), s.Image.Name())
	if _, digest, ok := strings.Cut(rest, "@"); ok {
		reference = digest
	} else if rest != "" {
		reference = strings.TrimPrefix(rest, ":")
	}
	address := fmt.Sprintf("%s://%s%s", e.Scheme, e.Host, path.Join("/", e.Path, s.Image.Repository(), "manifests", reference))
	if !isSource(s.Image.Host(), e) {
		address += "?ns=" + s.Image.Host()
	}
	return address
}

// sourceSees says what the registry sees that an image names.
func sourceSees(host string, calls []Call) string {
	at := slices.IndexFunc(calls, func(c Call) bool { return c.Source })
	switch {
	case len(calls) == 0:
		return "not known"
	case at < 0:
		return host + " is never asked"
	case len(calls) == 1 && len(calls[0].Offered) == 0:
		return host + " serves the image, and is offered no credential"
	case len(calls) == 1:
		return fmt.Sprintf("%s serves the image, and is offered %s", host, strings.Join(calls[0].Offered, " and "))
	}
	fail := "the one before it fails"
	if at > 1 {
		fail = fmt.Sprintf("the %d before it fail", at)
	}
	if len(calls[at].Offered) == 0 {
		return fmt.Sprintf("%s is asked if %s, and is offered no credential", host, fail)
	}
	return fmt.Sprintf("%s is asked if %s, and is then offered %s", host, fail, strings.Join(calls[at].Offered, " and "))
}
