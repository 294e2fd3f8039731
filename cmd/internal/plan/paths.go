package plan

// PluginName is the name of the plugin's executable, and so of mirrorcred's provider in
// the kubelet's configuration.
const PluginName = "mirror-credential-provider"

// Where mirrorcred keeps what is its own, on the node.
const (
	StateDir  = "/var/lib/mirrorcred"
	RoutesDir = StateDir + "/routes"  // one file a source; see package route
	SavedDir  = StateDir + "/adopted" // copies of other programs' files
)

// ReadyDir is empty after a start of the machine, and then has a file for each
// mirror whose first target has answered: its [mirror.Mirror.ReadyKey] and ReadySuffix.
const (
	ReadyDir    = "/run/mirrorcred/ready"
	ReadySuffix = ".ready"
)
