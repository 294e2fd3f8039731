package doctor

import (
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The names of the findings. Scripts and alerts match on them, so they must not change.
// Package hosts has the names of its remarks, and package containerdconfig those of its
// reasons.

// The map, and the node as a whole.
const (
	MapInvalid        = "map-invalid"
	MapMode           = "map-mode"
	SecretInMap       = "secret-in-map"
	NotApplied        = "not-applied"
	CannotApply       = "cannot-apply"
	SourceFault       = "source-fault"
	SourceDraining    = "source-draining"
	Conflict          = "conflict"
	HostsDirLeftovers = "hosts-dir-leftovers"
	WatcherNotRunning = "watcher-not-running"
	WatcherOlder      = "watcher-older"
	DeliverNotRunning = "deliver-not-running"
	NoInotify         = "no-inotify"
	ReadOnly          = "read-only"
	SELinuxLabel      = "selinux-label"
	ClockSkew         = "clock-skew"
	AnotherNode       = "state-of-another-node"
	NotLookedAt       = "not-looked-at"
)

// containerd.
const (
	ContainerdUnknown   = "containerd-unknown"
	RestartPending      = "restart-pending"
	NextStartDiffers    = "next-start-differs"
	VersionTooOld       = "version-too-old"
	ImportNotFollowed   = "import-not-followed"
	CRIDisabled         = "cri-disabled"
	ClockUnknown        = "clock-unknown"
	ContainerdLoginUsed = "containerd-login-used"
	HeadersLost         = "headers-lost"
	CtrIgnoresHosts     = "ctr-ignores-hosts"
	PauseImage          = "pause-image-through-authenticated-mirror"
	OwnImage            = "own-image-through-mirror"
)

// The tree of hosts.toml files.
const (
	HostsUnreadable          = "hosts-unreadable"
	ShadowedDirectory        = "shadowed-directory"
	NotADirectory            = "not-a-directory"
	EmptyDirectory           = "empty-directory"
	CaseOrPortSpelling       = "case-or-port-spelling"
	EditedFile               = "edited"
	ForeignFile              = "foreign"
	DockerStyleIgnored       = "docker-style-ignored"
	WorldReadableSecret      = "world-readable-secret"
	FallbackOffersCredential = "fallback-offers-credential"
	DirectoryAdopted         = "directory-adopted"
	DirectoryIgnored         = "directory-ignored"
	CertificatesIgnored      = "certificates-ignored"
	DefaultOfAnotherProgram  = "default-of-another-program"
	CAMissing                = "ca-missing"
	CANotValid               = "ca-not-valid"
	ClientMissing            = "client-missing"
	ClientNotValid           = "client-not-valid"
	MirrorNotReady           = "mirror-not-ready"
)

// Programs that rewrite files of this node.
const (
	RegistriesYAMLUnreadable = "registries-yaml-unreadable"
	RegistriesYAMLOwns       = "k3s-registries-yaml-owns"
	NodeadmRewrites          = "eks-nodeadm-rewrites"
	KubeadmFlagsComment      = "kubeadm-flags-env-comment"
)

// The kubelet.
const (
	FlagsMissing          = "flags-missing"
	OneFlagOnly           = "one-flag-only"
	InTreeACRFlag         = "in-tree-acr-flag"
	FlagsDifferFromFiles  = "flags-differ-from-files"
	ConfigNotLoaded       = "config-not-loaded"
	ConfigRefused         = "config-refused"
	TokenAttributesEarly  = "token-attributes-too-early"
	TokenRBAC             = "token-rbac"
	PluginMissing         = "plugin-missing"
	PluginNotExecutable   = "plugin-not-executable"
	PluginWrongArch       = "plugin-wrong-arch"
	PluginStopped         = "plugin-stopped"
	MatchImagesNeverMatch = "match-images-never-match"
	MatchImagesTooWide    = "match-images-too-wide"
	DuplicateAnswer       = "duplicate-answer"
	NodeDockerConfig      = "node-docker-config-answers"
	CachePoisoned         = "cache-poisoned-registry-type"
	RealmUnasked          = "realm-not-asked"
	NotDelivered          = "credential-not-delivered"
	CredentialLeftToNode  = "credential-left-to-node"
	CredentialExpired     = "credential-expired"
	CredentialNotRenewed  = "credential-not-renewed"
	TokenRealmEarly       = "token-realm-too-early"
)

// Credentials.
const (
	AzureJSONMissing        = "azure-json-missing"
	AzureJSONInvalid        = "azure-json-invalid"
	AzureJSONMode           = "azure-json-mode"
	AzureIdentityIncomplete = "azure-identity-incomplete"
	NotAnACRHost            = mirror.NotAnACRHost
	BindingCAMissing        = "identity-binding-ca-missing"
	DockerConfigMissing     = "docker-config-missing"
	DockerConfigMode        = "docker-config-mode"
	DockerConfigInvalid     = "docker-config-invalid"
	DockerConfigNoEntry     = "docker-config-no-entry"
	HelperMissing           = "helper-missing"
	ExecMissing             = "exec-missing"
	SecretOverHTTP          = "secret-over-http"
	MetadataProxied         = "metadata-proxied"
)
