// Package mirror knows the mirror map: which targets serve a source, in which
// order, with which settings and which credential. It parses the map, refuses
// a wrong one with line numbers, and resolves an image to its mirror.
//
// It is pure, and it refuses to know what is made of a map: how containerd is
// told is in package hosts, what the kubelet is answered in package
// credential. Start at [Parse].
package mirror

import "time"

// A Map is a parsed mirror map. It comes from [Parse] and is not changed.
type Map struct {
	// Mirrors are the [[mirror]] tables in their order, and after them the
	// registries under [registry] that no mirror has as its source, each
	// served as itself. No two have the same source.
	Mirrors []Mirror
	// Credentials are the [credential] tables in their order, with the one
	// that ACR targets imply. No two have the same name.
	Credentials []Credential
	Containerd  Containerd
	Kubelet     Kubelet
	// LiteralSecrets are the headers whose value is a secret that stands in
	// the map itself: only root may read such a map.
	LiteralSecrets []LiteralSecret

	bySource map[string]int // index in Mirrors
}

// A Mirror sends the images of one source to its targets.
type Mirror struct {
	Source  Source
	Targets []Target // tried in this order; at least one
	// ShareCredential says that each of the targets may be offered the
	// credentials of all of them.
	ShareCredential bool
	// Line is where the map says it.
	Line int
}

// Secret reports whether the mirror has a header that only root may read.
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

// CredentialNames returns the names of the credentials that the mirror's
// targets ask for, each once, in the order of the targets.
func (m Mirror) CredentialNames() []string {
	var names []string
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, t := range m.Targets {
		add(t.Credential)
		for _, below := range t.Below {
			add(below.Credential)
		}
	}
	return names
}

// Settings are what containerd has to know of a registry beside its address.
// The fields are those of hosts.toml (containerd docs/hosts.md).
type Settings struct {
	CA           []string    // paths of PEM files on the node
	Client       [][2]string // certificate and key files; no key means that it is in the certificate's file
	SkipVerify   bool
	DialTimeout  time.Duration // 0 means containerd's default
	Capabilities []string      // "pull", "resolve", "push", "referrers"; empty means the default of package hosts
	Header       []Header      // sorted by name
}

// A Header is sent with each request to a registry.
type Header struct {
	Name   string   // in canonical form
	Values []string // empty where the value is in File
	File   string   // path of a file that holds the value, or ""
}

// Secret reports whether only root may read the header's value.
func (h Header) Secret() bool { return h.File != "" || IsSecretHeader(h.Name) }

// A LiteralSecret is a secret header whose value is in the map.
type LiteralSecret struct {
	Header string
	Line   int
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
)

// kinds are the kinds as messages list them.
const kinds = "\"azure\", \"docker-config\", \"exec\" and \"service-account-token\""

// A Credential says where a username and a password come from.
type Credential struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// File is azure.json or the docker config.json; "" for other kinds.
	File string `json:"file,omitempty"`
	// Command, Args and Env (NAME=value) are those of Exec.
	Command string   `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	// Username goes with the token of PodToken.
	Username string `json:"username,omitempty"`
	// Token is the token of the pod that the credential is got with; nil
	// where it is the node's affair alone.
	Token *Token `json:"token,omitempty"`
	// ClientID and TenantID are the Azure identity of a pod whose service
	// account is not annotated with its own.
	ClientID string `json:"client_id,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
	// Binding gives a pod's token for that of its Azure identity; nil means
	// that Entra ID does.
	Binding *Binding `json:"binding,omitempty"`
}

// Containerd says how the node's containerd is set up.
type Containerd struct {
	// HostsDir is the directory of the generated tree.
	HostsDir string `json:"hosts_dir"`
	// Config is containerd's own configuration file.
	Config string `json:"config"`
	// Address is the socket of the running containerd.
	Address string `json:"address"`
	// ConfigPath is containerd's effective config_path as the operator
	// knows it, for where it cannot be learned; "" where they do not say.
	ConfigPath string `json:"config_path,omitempty"`
	// Version is the version of containerd to render for, such as "2.2";
	// "" for a form that every supported one reads.
	Version string `json:"version,omitempty"`
}

// Kubelet says where the kubelet's side of the map goes.
type Kubelet struct {
	// Config is the CredentialProviderConfig, a file or a directory of them.
	Config string
	// BinDir is where the kubelet finds its plugins.
	BinDir string
	// MatchImages are patterns to add to those of the map.
	MatchImages []string
	// MatchAny makes the kubelet run the plugin for every host without a
	// port.
	MatchAny bool
	// AuditLog is where the plugin writes its runs down: the path of a file,
	// "unixgram:" and the path of a socket, "journald" or "none"; "" for the
	// plugin's default.
	AuditLog string
	// Version is the kubelet's version, such as "1.34", as the operator
	// knows it; "" where they do not say.
	Version string
	// Stock says that the plugin is [Stock] and not ours.
	Stock bool
}

// The defaults of [containerd], [kubelet] and [credential.azure].
const (
	DefaultHostsDir         = "/etc/containerd/certs.d"
	DefaultContainerdConfig = "/etc/containerd/config.toml"
	DefaultAddress          = "/run/containerd/containerd.sock"
	DefaultKubeletConfig    = "/var/lib/kubelet/credential-provider-config.yaml"
	DefaultBinDir           = "/var/lib/kubelet/credential-provider"
	DefaultAzureConfig      = "/etc/kubernetes/azure.json"
	azureCredential         = "azure"
)

// Credential returns the credential of that name.
func (m *Map) Credential(name string) (Credential, bool) {
	for _, c := range m.Credentials {
		if c.Name == name {
			return c, true
		}
	}
	return Credential{}, false
}

// Azure returns the credential that answers for ACR login servers which the
// map does not name, and false where the map has nothing to do with Azure.
func (m *Map) Azure() (Credential, bool) { return m.Credential(azureCredential) }

// Mirror returns the mirror of a source, and false where there is none.
func (m *Map) Mirror(s Source) (Mirror, bool) {
	i, ok := m.bySource[s.name]
	if !ok {
		return Mirror{}, false
	}
	return m.Mirrors[i], true
}

// Resolve returns the mirror that serves an image: that of the image's host
// exactly as it is spelled, else that of "*". The answer false means that
// containerd asks the image's own registry.
func (m *Map) Resolve(image Image) (Mirror, bool) {
	if found, ok := m.Mirror(Source{image.host}); ok {
		return found, true
	}
	return m.Mirror(Source{"*"})
}
