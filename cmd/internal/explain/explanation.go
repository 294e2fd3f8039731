package explain

import ()

// An Explanation is what happens when an image is pulled.
type Explanation struct {
	Image      string     `json:"image"` // normalised
	Kubelet    Kubelet    `json:"kubelet"`
	Plugin     Plugin     `json:"plugin"`
	Containerd Containerd `json:"containerd"`
	Calls      []Call     `json:"calls"` // in containerd's order
	// Source says what the registry that the image names will see.
	Source string `json:"source"`
	// Works is false if the pull fails for certain, or goes where the map does not
	// send it.
	Works bool `json:"works"`
}

// A Kubelet says which credential providers the kubelet runs for the image.
type Kubelet struct {
	Config  string  `json:"config"`
	Matches []Match `json:"matches"`
	Fault   string  `json:"fault,omitempty"`
}

// A Match is a provider that the kubelet runs, and the first pattern that matches.
type Match struct {
	Provider string `json:"provider"`
	Pattern  string `json:"pattern"`
	Line     int    `json:"line,omitempty"`
	Ours     bool   `json:"ours"`
}

// A Plugin says what mirrorcred's plugin returns.
type Plugin struct {
	Route  string   `json:"route,omitempty"` // source of the route that decides
	Offers []Offer  `json:"offers"`
	Reason string   `json:"reason,omitempty"` // why no credential is needed
	Fault  string   `json:"fault,omitempty"`  // why nothing is returned although one is needed
	Live   *Answers `json:"live,omitempty"`   // what it really returned, if it was run
}

// An Offer is a credential that the plugin may return. Credential is "" for an
// attempt without one.
type Offer struct {
	Registry   string `json:"registry"`
	Image      string `json:"image"`
	Credential string `json:"credential,omitempty"`
}

// Answers are what the plugin returned when it was run. They hold no secret.
type Answers struct {
	Fault   string   `json:"fault,omitempty"` // one line
	Answers []Answer `json:"answers"`
}

// An Answer is one credential from the plugin, without its secret.
type Answer struct {
	Key      string `json:"key"` // what the kubelet matches
	Username string `json:"username"`
	// Length is how many characters the secret has.
	Length int `json:"length"`
	// Expires is when the secret expires, in RFC 3339, if it contains that.
	Expires string `json:"expires,omitempty"`
}

// A Containerd says which directory containerd picks.
type Containerd struct {
	Dir       string   `json:"dir"`                 // of all namespaces
	Namespace string   `json:"namespace,omitempty"` // "" if there is none for the image
	Missing   []string `json:"missing,omitempty"`   // namespaces that would come first
	Writer    string   `json:"writer,omitempty"`    // who wrote the hosts.toml
	Fault     string   `json:"fault,omitempty"`     // why containerd ignores it
	// Unsure says why containerd may not read Dir at all.
	Unsure string `json:"unsure,omitempty"`
}

// A Call is a registry that containerd calls.
type Call struct {
	URL     string   `json:"url"`     // of the manifest
	Offered []string `json:"offered"` // credentials, if the registry asks for one
	Source  bool     `json:"source"`  // the registry that the image names
	Limits  string   `json:"limits,omitempty"`
}
