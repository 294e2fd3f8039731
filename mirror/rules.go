package mirror

// A rule says whether a map from the cluster may have a key.
type rule struct {
	need need
	// or is a value that needs no permission: it is in force without the key.
	or string
}

// A need is what a key needs to be in a map from the cluster.
type need int

const (
	nothing need = iota
	// equal: the node's own list has the same value in the same place.
	equal
	// among: each entry is among those that the list has in the same place.
	among
	// amongAny is among, and the list may name the entries for all registries.
	amongAny
	// byKind: whether the key is free depends on the credential that it names.
	byKind
	// asCredential is equal, except for a registry that is free to have an Azure
	// credential.
	asCredential
	// ofKind is equal for the kinds that byKind is not free for.
	ofKind
	// withTargets is equal, and the list's mirror has all targets of this one.
	withTargets
)

// rules has each key of the map. A key that is not here is refused in a map from
// the cluster, so a new key needs a decision: does it name a program, a file, an
// environment variable, or somewhere that a secret is sent to? Does it say what
// only the node knows?
var rules = map[string]rule{
	"version": {},

	// Where images come from is what the map is for.
	"mirror.source":  {},
	"mirror.targets": {},
	// containerd offers the credentials of all targets to each of them, so a
	// target of the writer's choice would get the others' passwords.
	"mirror.share_credential": {need: withTargets, or: "false"},
	"mirror.header.*":         {},
	// It only delays a mirror, by an hour at most.
	"mirror.ready": {},
	// The file's contents are sent to each target.
	"mirror.header.*.file": {need: withTargets},

	// An exec plugin and a pod's token are not bound to a registry by themselves, and a
	// target with any credential may see the one that the mirror had before.
	"registry.*.credential": {need: byKind},
	// The credential is then sent with each request, and to the realm that the registry
	// names.
	"registry.*.deliver": {need: asCredential, or: "kubelet"},
	// Another host gets the credential.
	"registry.*.token_host": {need: equal},
	// containerd and mirrorcred open these; a file says whether it is there, and a
	// CA decides whom containerd trusts.
	"registry.*.ca":     {need: amongAny},
	"registry.*.client": {need: among},
	// Anybody on the network could take the credential.
	"registry.*.skip_verify":   {need: equal, or: "false"},
	"registry.*.dial_timeout":  {},
	"registry.*.capabilities":  {},
	"registry.*.header.*":      {},
	"registry.*.header.*.file": {need: equal},

	"credential.*.kind":    {need: ofKind},
	"credential.*.config":  {need: equal, or: DefaultAzureConfig},
	"credential.*.path":    {need: equal}, // it may name a credential helper too
	"credential.*.command": {need: equal},
	"credential.*.args":    {need: equal},
	"credential.*.env.*":   {need: equal}, // such as LD_PRELOAD
	// The kubelet would make tokens for any service that trusts the cluster.
	"credential.*.audience":             {need: equal},
	"credential.*.require":              {},
	"credential.*.annotations":          {},
	"credential.*.required_annotations": {},
	"credential.*.username":             {},
	// It says who the plugin is at the API server, and which program makes it that.
	"credential.*.kubeconfig": {need: equal},
	"credential.*.timeout":    {},
	// The pod's token goes to Entra ID only, and its answer to ACR hosts only.
	"credential.*.client_id": {},
	"credential.*.tenant_id": {},
	// The pod's token is sent there.
	"credential.*.identity_binding.sni_name":   {need: equal},
	"credential.*.identity_binding.api_server": {need: equal},
	"credential.*.identity_binding.ca":         {need: equal, or: defaultCA},

	// What the node is like, the node says. That a wrong config_path or version
	// makes containerd ignore a hosts.toml would send a credential to the source.
	"containerd.hosts_dir":   {need: equal, or: DefaultHostsDir},
	"containerd.config":      {need: equal, or: DefaultContainerdConfig},
	"containerd.address":     {need: equal, or: DefaultAddress},
	"containerd.config_path": {need: equal},
	"containerd.version":     {need: equal},
	// Even the default is another path than none: without one, the paths are
	// those that the kubelet starts with.
	"kubelet.config":  {need: equal},
	"kubelet.bin_dir": {need: equal},
	"kubelet.version": {need: equal},
	"kubelet.running": {need: equal, or: "true"},
	// A file that root appends to, or the end of the log.
	"kubelet.audit_log": {need: equal, or: "journald"},
	"kubelet.plugin":    {need: equal, or: "mirror-credential-provider"},
	// For which images the kubelet asks; what it is answered, the routes decide.
	"kubelet.match":        {},
	"kubelet.match_images": {},
}
