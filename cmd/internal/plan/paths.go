package plan

// PluginName is the name of the plugin's executable, and so of our provider in
// the kubelet's configuration.
const PluginName = "mirror-credential-provider"

// Where mirrorcred keeps what is its own, on the node.
const (
	StateDir  = "/var/lib/mirrorcred"
	RoutesDir = StateDir + "/routes"  // one file a source; see package route
	SavedDir  = StateDir + "/adopted" // copies of other programs' files
)
