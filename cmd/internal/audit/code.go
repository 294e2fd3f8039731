package audit

import "slices"

// A Code is the kind of reason why a run did not return every credential. Unlike
// the reason itself it is one of a fixed list, so that runs can be counted by it.
type Code string

// The codes of a run that was refused.
const (
	BadRequest    Code = "request"       // the request is invalid, or its image is
	NoRoute       Code = "no-route"      // there is no usable route for the image
	NotArmed      Code = "not-armed"     // containerd may not read the mirrors
	Draining      Code = "draining"      // the mirror was removed from the map
	HostsChanged  Code = "hosts-changed" // the hosts.toml in force is not the rendered one
	NotInMap      Code = "not-in-map"    // another program's hosts.toml routes the registry
	Retargeted    Code = "retargeted"    // the mirror kept changing during the run
	PodToken      Code = "pod-token"     // the pod's token is missing, or for another audience
	Misconfigured Code = "misconfigured" // a file or program that the credential needs is unusable
)

// The codes of other runs.
const (
	Fetch   Code = "fetch"   // a credential could not be fetched
	Timeout Code = "timeout" // the run's time was up
	Stopped Code = "stopped" // the run was told to stop
	Partial Code = "partial" // answered without one of the credentials
	Other   Code = "other"   // none of these, or not recorded
)

// codes are the codes that each outcome may have, apart from Other.
var codes = map[Outcome][]Code{
	Answered: {"", Partial},
	Empty:    {""},
	Refused:  {BadRequest, NoRoute, NotArmed, Draining, HostsChanged, NotInMap, Retargeted, PodToken, Misconfigured},
	Failed:   {Fetch, Timeout, Stopped},
}

// Outcomes returns all outcomes.
func Outcomes() []Outcome { return []Outcome{Answered, Empty, Refused, Failed} }

// Codes returns the codes that a run with this outcome may have, apart from
// [Other].
func (o Outcome) Codes() []Code { return codes[o] }

// Counted returns the code that a run counts under: [Other] if this version does
// not know its code, so that no log makes a count of its own.
func (e Event) Counted() Code {
	if slices.Contains(codes[e.Outcome], e.Code) {
		return e.Code
	}
	return Other
}
