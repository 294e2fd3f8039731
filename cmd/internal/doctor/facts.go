package doctor

import (
	"io/fs"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Facts are what the checks need to know about a node. Paths are as an operator types them
// on this machine.
type Facts struct {
	Map *mirror.Map
	// MapFile is the map's path, for repairs.
	MapFile string
	// OpenMap says that users other than the owner can read the map.
	OpenMap bool
	// Delivered says that the map came from the cluster.
	Delivered bool
	// Files are the files that the credentials of the map name, by their paths
	// in the map.
	Files map[string]File
	// Docker are the docker configurations among them that could be parsed.
	Docker map[string]Keys
	// Clients are the client certificates that the map names.
	Clients []Lifetime
	// Helpers are the docker credential helpers that are installed, by the
	// names that a docker configuration has for them. Nil if that is unknown.
	Helpers map[string]bool
	// KubeletConfig is the kubelet's configuration of providers, a file or a
	// directory, and Others are the providers in it that are not mirrorcred's.
	KubeletConfig string
	Others        []Provider
	// NodeConfigs are the docker configurations at the places where a kubelet
	// of this node looks, in its order. Each list is one kubelet's.
	NodeConfigs [][]DockerFile
	// Flags are what the unit files below another root say; nil if a kubelet
	// that runs was asked instead, or needs no flags.
	Flags *Flags
	// Logins are the registries for which containerd has logins of its own.
	Logins []Login
	// Leftovers are directories that held mirrorcred's tree before hosts_dir
	// was changed, and still hold files of it.
	Leftovers []Leftover
}

// A File is one that a credential needs.
type File struct {
	Path string // on this machine
	// Err says why it cannot be read, [fs.ErrNotExist] if it is not there. Nil
	// if it could be.
	Err error
	// Mode is its type and permissions.
	Mode fs.FileMode
	// Fault is what is wrong with its content, in one line; "" if nothing is
	// known to be.
	Fault string
	// Azure has the contents of an azure.json; nil if the file is not a valid one.
	Azure *AzureFile
}

// An AzureFile is the part of an azure.json about the node's identity.
type AzureFile struct {
	Lacks     string // what is missing, and what to set; "" if it names an identity
	HasSecret bool   // there is a password in it
	Suffix    string // of the registries of its cloud; "" if that is not known
	// From and Until are those of the certificate that the identity signs in with;
	// zero if it uses none.
	From, Until time.Time
}

// Keys are the registries that a docker configuration knows.
type Keys interface {
	// Lacks returns why the file has no credential for the images that begin
	// with the one asked for, and what to do; "" if it may have one.
	Lacks(query credential.Query) (what, repair string)
	// Lifetime returns when the password was issued and when it expires, each zero if
	// that is not known.
	Lifetime(query credential.Query) (from, until time.Time)
	// Helper returns the name of the helper that is asked, "" if none is.
	Helper(query credential.Query) string
}

// A Provider is another provider of the kubelet's configuration.
type Provider struct {
	Name string `json:"name"`
	// Where is its file and line.
	Where string   `json:"where"`
	Match []string `json:"match"`
}

// A DockerFile is a docker configuration in a place that the kubelet searches.
type DockerFile struct {
	Path string
	// Legacy says that it is a .dockercfg: its top level is like "auths" in a
	// config.json.
	Legacy bool
	Data   []byte
	// If is the condition under which the kubelet reads it, such as "if the kubelet's
	// $HOME is /root"; "" if it always does.
	If string
}

// Flags are the values of the kubelet's two flags in the files that start it.
type Flags struct {
	Root string
	// Unit is the first of the files that were found, "" if there was none.
	Unit string
	// Configs and BinDirs are all values found, in the order of the files.
	Configs, BinDirs []string
	// InTree are the places of the flag of the provider that was part of the
	// kubelet before 1.30, as file:line.
	InTree []string
}

// A Login is one that containerd's configuration has for a registry.
type Login struct {
	Host  string // as the configuration names it, with or without a scheme
	Where string // the file on this machine, and the line
	Table string
}

// A Leftover is a directory that held mirrorcred's tree.
type Leftover struct {
	Dir string // on this machine
	// Namespaces are the directories in it with a hosts.toml that mirrorcred
	// wrote.
	Namespaces []string
}
