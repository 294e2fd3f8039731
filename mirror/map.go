// Package mirror knows the mirror map: which targets serve a source, in which
// order, with which settings and which credential. It parses the map, reports
// its faults with their lines, and finds the mirror of an image.
//
// It is pure. What containerd gets is in package hosts. What the kubelet gets
// is in package credential and those below it. Start at [Parse].
package mirror

import "time"

// A Map is a parsed mirror map. [Parse] returns it, and it does not change.
type Map struct {
	// Mirrors are the mirror tables in their order. After them come the
	// tables of registries that are the source of no mirror; each serves
	// itself. No two mirrors have the same source.
	Mirrors []Mirror
	// Credentials are the credential tables in their order, and the one that
	// ACR targets imply. No two have the same name.
	Credentials []Credential
	Containerd  Containerd
	Kubelet     Kubelet
	// LiteralSecrets are the headers with a value in the map that may be a
	// secret: only root should be able to read such a map.
	LiteralSecrets []LiteralSecret
	// Notes are about what is valid but may be a mistake: targets without a
	// credential, and tables that nothing uses.
	Notes []*Fault

	file     string         // its name in faults
	bySource map[string]int // index in Mirrors
}

// A Mirror sends the images of one source to its targets.
type Mirror struct {
	Source  Source
	Targets []Target // tried in this order; at least one
	// ShareCredential says that containerd may offer each target the
	// credentials of all of them.
	ShareCredential bool
	// Ready is how long the mirror waits at most, before it is turned on, until its
	// first target answers; 0 means that it does not wait.
	Ready time.Duration
	// Line is the line of the map that it begins on.
	Line int
}

// Secret reports whether the mirror has a header that may be a secret.
func (m Mirror) Secret() bool {
	for _, t := range m.Targets {
		for _, h := range t.Settings.Header {
			if h.Secret() {
				return true
			}
		}
	}
	return false
}

// CredentialNames returns the names of the credentials of the mirror's targets,
// each once, in the order of the targets.
func (m Mirror) CredentialNames() []string {
	var names []string
	seen := map[string]bool{Anonymous: true}
	add := func(list []string) {
		for _, name := range list {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	for _, t := range m.Targets {
		add(t.Credentials)
		for _, below := range t.Below {
			add(below.Credentials)
		}
	}
	return names
}

// Settings are what containerd needs to know about a registry besides its
// address. The fields are those of hosts.toml (containerd, docs/hosts.md).
type Settings struct {
	CA           []string    // paths of PEM files on the node
	Client       [][2]string // paths of certificate and key; no key means that it is in the certificate's file
	SkipVerify   bool
	DialTimeout  time.Duration // 0 means containerd's default
	Capabilities []string      // "pull", "resolve", "push", "referrers"; empty means the default of package hosts
	Header       []Header      // sorted by name
}

// A Header is a header that containerd sends with each request to a registry.
type Header struct {
	Name   string   // in canonical form
	Values []string // empty if the value is elsewhere
	File   string   // path of a file that holds the value, or ""
	// Delivered is the key of a credential that is handed over for this header
	// ([Target.Delivery]), or "".
	Delivered string
}

// Secret reports whether the header's value may be a secret, which only root
// may read.
func (h Header) Secret() bool { return h.File != "" || h.Delivered != "" || IsSecretHeader(h.Name) }

// Source says where a value that is not in the map comes from: the path of its file or
// its delivery key; "" for a value in the map.
func (h Header) Source() string { return h.File + h.Delivered }

// A LiteralSecret is a header with its value in the map itself, if that may be
// a secret; see [IsSecretHeader].
type LiteralSecret struct {
	Header string
	Line   int
	// Certain says that a header of that name always holds a secret.
	Certain bool
}

// A Kind is a way to get a credential.
type Kind string

// The kinds of credentials.
const (
	Azure        Kind = "azure"         // an Azure identity, exchanged for a token of the registry
	DockerConfig Kind = "docker-config" // a docker config.json
	Exec         Kind = "exec"          // another kubelet credential provider
	// PodToken hands the pod's service-account token on as the password.
	PodToken Kind = "service-account-token"
	// PullSecret takes the pod's own logins, from the pull secrets that it names.
	PullSecret Kind = "pull-secret"
)

var kindList = []string{string(Azure), string(DockerConfig), string(Exec), string(PodToken), string(PullSecret)}

// kinds are the kinds as messages list them.
const kinds = "\"azure\", \"docker-config\", \"exec\", \"service-account-token\" and \"pull-secret\""

// A Credential says how to get a username and a password.
type Credential struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// File is the path of azure.json or of the docker config.json, or of the node's
	// kubeconfig, for [PullSecret], "" for where the kubelet has it; "" for other
	// kinds.
	File string `json:"file,omitempty"`
	// Command, Args and Env (NAME=value) say which program [Exec] runs.
	Command string   `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	// Closed says that only root can read the map. Args and Env may then hold
	// secrets, whatever their names.
	Closed bool `json:"closed,omitempty"`
	// Timeout is how long the API server may take for [PullSecret]; 0 means the
	// default.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Username is what [PodToken] returns with the token.
	Username string `json:"username,omitempty"`
	// Token is the pod's token that is needed to get the credential; nil if the
	// node's own identity is used.
	Token *Token `json:"token,omitempty"`
	// ClientID and TenantID are the Azure identity of pods whose service
	// account has no annotation with its own.
	ClientID string `json:"client_id,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
	// Binding exchanges a pod's token for one of its Azure identity; nil means
	// that Entra ID does.
	Binding *Binding `json:"binding,omitempty"`
}

// Containerd is what the map's containerd table says about the node's containerd.
// [Parse] fills in the defaults.
type Containerd struct {
	// HostsDir is the directory of the generated hosts.toml files.
	HostsDir string `json:"hosts_dir"`
	// Config is the path of containerd's configuration file.
	Config string `json:"config"`
	// Address is the path of containerd's socket.
	Address string `json:"address"`
	// ConfigPath is containerd's config_path, for a node without a
	// configuration file; "" if the map does not say.
	ConfigPath string `json:"config_path,omitempty"`
	// Version is the version of containerd to render for, such as "2.2"; ""
	// means files that every supported version reads.
	Version string `json:"version,omitempty"`
}

// Kubelet is what the map's kubelet table says about the node's kubelet. [Parse]
// fills in the defaults.
type Kubelet struct {
	// Config is the CredentialProviderConfig, a file or a directory of them.
	Config string
	// BinDir is the directory of the kubelet's plugins.
	BinDir string
	// Named says that the map sets at least one of the two. If it sets neither,
	// the flags of the node's kubelet override the defaults.
	Named bool
	// MatchImages are patterns for the kubelet besides those of the sources.
	MatchImages []Pattern
	// MatchAny makes the kubelet run the plugin for every host without a
	// port.
	MatchAny bool
	// AuditLog is where the plugin logs its runs: the path of a file,
	// "unixgram:" and the path of a socket, "journald" or "none"; "" means the
	// plugin's default.
	AuditLog string
	// Version is the kubelet's version, such as "1.34"; "" if the map does not
	// say.
	Version string
	// VersionLine is the line of the map that says so.
	VersionLine int
	// NotRunning says that no kubelet runs, for nodes where that cannot be
	// seen.
	NotRunning bool
	// Stock says that the kubelet runs the plugin [Stock] instead of
	// mirrorcred's, with the map's mirrors.
	Stock bool
}

// The defaults of the tables containerd, kubelet and credential.azure.
const (
	DefaultHostsDir         = "/etc/containerd/certs.d"
	DefaultContainerdConfig = "/etc/containerd/config.toml"
	DefaultAddress          = "/run/containerd/containerd.sock"
	DefaultKubeletConfig    = "/var/lib/kubelet/credential-provider-config.yaml"
	DefaultBinDir           = "/var/lib/kubelet/credential-provider"
	DefaultAzureConfig      = "/etc/kubernetes/azure.json"
	azureCredential         = "azure"
)

// Credential returns the credential of that name, and false if there is none.
func (m *Map) Credential(name string) (Credential, bool) {
	for _, c := range m.Credentials {
		if c.Name == name {
			return c, true
		}
	}
	return Credential{}, false
}

// Azure returns the credential for ACR login servers that the map does not
// name. It returns false if the map has no Azure credential.
func (m *Map) Azure() (Credential, bool) { return m.Credential(azureCredential) }

// Mirror returns the mirror of a source, and false if there is none.
func (m *Map) Mirror(s Source) (Mirror, bool) {
	i, ok := m.bySource[s.name]
	if !ok {
		return Mirror{}, false
	}
	return m.Mirrors[i], true
}

// Resolve returns the mirror that serves an image: that of the image's host
// exactly as the image spells it, or that of "*". If it returns false,
// containerd asks the image's own registry.
func (m *Map) Resolve(image Image) (Mirror, bool) {
	if found, ok := m.Mirror(Source{image.host}); ok {
		return found, true
	}
	return m.Mirror(Source{"*"})
}
