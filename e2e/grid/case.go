// Package grid holds what each line of containerd does with a mirror's credential
// in its hosts.toml: which registry is shown which secret, and where the image
// comes from. It plays the registries and has each line's own code pull (see
// build.Puller). Rules say what must come out; nothing here is a
// record of what once did.
//
// Start at [Case].
package grid

import (
	"fmt"
	"slices"
)

// A Case is one pull.
type Case struct {
	Client Client
	Kind   Kind
	State  State
	Login  Login
	Behind Behind
}

// String returns the whole case in words.
func (c Case) String() string {
	return fmt.Sprintf("%s, mirror %s %s, kubelet has %s, behind it %s", c.Client, c.Kind, c.State, c.Login, c.Behind)
}

// A Client is one way in which a version of containerd pulls.
type Client struct {
	Version  string
	Transfer bool // by the transfer service
}

// String returns the version, and how it pulls if that is not the usual way.
func (c Client) String() string {
	if c.Transfer {
		return c.Version + " by transfer"
	}
	return c.Version
}

// A Kind is how a mirror wants its credential.
type Kind string

// The kinds. Those from RealmFirst on accept no header at /v2.
const (
	Basic       Kind = "basic"       // Basic at /v2, and its challenge is Basic
	Harbor      Kind = "harbor"      // the same, and without a header its challenge is Bearer
	Artifactory Kind = "artifactory" // Basic at /v2, and its challenge is Bearer
	Token       Kind = "token"       // a Bearer token at /v2
	RealmFirst  Kind = "realm"       // a realm whose POST prefers the header to the form
	RealmForm   Kind = "form"        // a realm whose POST reads the form alone
	Realm400    Kind = "post-400"    // a realm that refuses POST so
	Realm401    Kind = "post-401"
	Realm404    Kind = "post-404"
	Realm405    Kind = "post-405"
	Refresh     Kind = "refresh"   // a realm; but a header that /v2 refuses is answered with a Basic challenge
	Elsewhere   Kind = "elsewhere" // as RealmFirst, on a host of its own
	Proxy       Kind = "proxy"     // passes through all of a registry whose realm is the hub
)

// Kinds are all of them.
var Kinds = []Kind{Basic, Harbor, Artifactory, Token, RealmFirst, RealmForm, Realm400, Realm401, Realm404, Realm405, Refresh, Elsewhere, Proxy}

// A State is how a mirror is.
type State string

// The states.
const (
	Up    State = "up"
	Ended State = "ended" // it accepts the header no more
	S403  State = "403"
	S404  State = "404"
	S429  State = "429"
	S500  State = "500"
	Down  State = "down" // it refuses connections
)

// States are all of them.
var States = []State{Up, Ended, S403, S404, S429, S500, Down}

// A Login is what the kubelet gives containerd for a pull.
type Login string

// The logins.
const (
	NoLogin  Login = "nothing"
	PodLogin Login = "the pod's secret" // for the source
	TheCopy  Login = "the mirror's too" // another valid login for the mirror
)

// Logins are all of them.
var Logins = []Login{NoLogin, PodLogin, TheCopy}

// A Behind is what the list names after the mirror.
type Behind string

// What may be behind a mirror: the source, in one of these forms.
const (
	Nothing Behind = "nothing"
	Public  Behind = "a public source"
	Private Behind = "a source with Basic"
	Hub     Behind = "a source like Docker Hub"
)

// Behinds are all of them.
var Behinds = []Behind{Nothing, Public, Private, Hub}

// Cases returns the whole grid for some clients.
func Cases(clients []Client) []Case {
	var all []Case
	for _, client := range clients {
		for _, kind := range Kinds {
			for _, state := range States {
				for _, login := range Logins {
					for _, behind := range Behinds {
						all = append(all, Case{client, kind, state, login, behind})
					}
				}
			}
		}
	}
	return all
}

// A Secret is one that a registry may be shown.
type Secret string

// The secrets. Each has a text that is in nothing else.
const (
	Header   Secret = "header" // the mirror's, from hosts.toml
	Pod      Secret = "pod"
	Copy     Secret = "copy"
	OtherOne Secret = "other" // another mirror's
	Named    Secret = "named" // in a header of another name
)

var secrets = []Secret{Header, Pod, Copy, OtherOne, Named}

// text is what is looked for in requests.
func (s Secret) text() string { return "canary-" + string(s) }

// A Party is one that is asked during a pull.
type Party string

// The parties.
const (
	Mirror  Party = "mirror"
	Realm   Party = "realm" // the mirror's, if it is Elsewhere
	Source  Party = "source"
	HubAuth Party = "hub" // the realm of Docker Hub
	Second  Party = "second"
	Storage Party = "storage"
	Plain   Party = "plain" // storage by plain http, under the mirror's name
	Cache   Party = "cache" // a cache on the node, by plain http on loopback
)

// An Outcome is who saw what in a pull, and who gave the image.
type Outcome struct {
	From Party // "" if no registry did
	Seen Seen
}

// Seen are the secrets that each party was shown.
type Seen map[Party][]Secret

func (s Seen) add(p Party, secrets ...Secret) {
	for _, secret := range secrets {
		if !slices.Contains(s[p], secret) {
			s[p] = append(s[p], secret)
			slices.Sort(s[p])
		}
	}
}

// String returns where the image came from, and who was shown what.
func (o Outcome) String() string {
	from := o.From
	if from == "" {
		from = "no registry"
	}
	text := "from " + string(from)
	for _, p := range []Party{Mirror, Realm, Source, HubAuth, Second, Storage, Plain, Cache} {
		if len(o.Seen[p]) > 0 {
			text += fmt.Sprintf("; %s saw %v", p, o.Seen[p])
		}
	}
	return text
}
