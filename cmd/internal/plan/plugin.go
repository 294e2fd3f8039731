package plan

import (
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A plugin is the program by which the kubelet gets a mirror's credential:
// mirrorcred's, which reads routes, or a stock one, which is told its mirrors in the
// kubelet's configuration. [pluginOf] chooses, and nothing else asks which one it is.
type plugin interface {
	Plugin
	// runs reports whether a provider of that name is run by the plugin.
	runs(provider string) bool
	// needs returns the names of the providers that answer for a mirror's images.
	needs(m mirror.Mirror) []string
	// entries returns its entries of the kubelet's configuration as the map has
	// them.
	entries(c *configuring) (entries, error)
	// links returns the share of the executables that its entries need besides
	// the plugin's own.
	links(c *configuring, wanted []kubeletconfig.Provider) (share, error)
	// needsRoutes reports whether there must be routes because mirrorcred's plugin may be
	// run.
	needsRoutes(ks *kubelets, areThere bool) bool
	// entry returns the part of its provider that matters for what a kubelet has read.
	entry(p kubeletconfig.Provider) Entry
	// mirrorsIn returns the mirrors in one of its entries, by source, as the plugin reads
	// them; nil if its entries have none.
	mirrorsIn(e Entry) map[string]string
	// lacks returns what one of its entries lacks to answer for a mirror, "" if nothing.
	// matches says that the entry matches the source, and mirrors are those in it.
	lacks(m mirror.Mirror, matches bool, mirrors map[string]string) string
	// isDecided reports whether a removal can no longer be held. isWithdrawn says that
	// the route is withdrawn, and isDraining that a drain is remembered.
	isDecided(isWithdrawn, isDraining bool) bool
	// mayAnswer returns why a source cannot change: it is not known whether a kubelet
	// still has the plugin answer for it as before.
	mayAnswer(ks *kubelets, source string, ns Namespace) pendingReason
	// restart says how to make the kubelet read its configuration.
	restart() string
}

// pluginOf returns the plugin that a map has the kubelet run.
func pluginOf(m *mirror.Map) plugin {
	if m.Kubelet.Stock {
		return &stockPlugin{m: m}
	}
	return ownPlugin{m, slices.ContainsFunc(m.Credentials, func(c mirror.Credential) bool { return c.Token != nil })}
}

// running returns the plugin that a provider runs, by the provider's name, whichever one
// the map names. It is asked only for providers that mirrorcred has, or had, in the
// kubelet's configuration.
func running(provider string) plugin {
	if stock := (&stockPlugin{}); stock.runs(provider) {
		return stock
	}
	return ownPlugin{}
}

// A Plugin is what other packages may ask about the plugin that a map has the kubelet run.
type Plugin interface {
	// Name returns the name of its provider, which is that of its executable too.
	Name() string
	// ReadsRoutes reports whether the plugin reads at each run what it may return. If
	// not, the mirrors are in the kubelet's configuration: they can change only with that
	// file, and the plugin answers for them until [Unmap] is carried out.
	ReadsRoutes() bool
	// UsesProxy reports whether it sends the requests for the node's identity through a
	// proxy, if its environment has one.
	UsesProxy() bool
}

// PluginOf returns the plugin that a map has the kubelet run.
func PluginOf(m *mirror.Map) Plugin { return pluginOf(m) }

// entries are the plugin's entries of the kubelet's configuration.
type entries struct {
	// desired is what to write, and wanted the part of it that the map's plugin needs.
	// The rest is an entry to restore.
	desired kubeletconfig.Desired
	wanted  []kubeletconfig.Provider
	// made says that an entry in it was not there before mirrorcred.
	made bool
	// mapped are the mirrors that it has as it is.
	mapped    map[string]string
	questions []Question
}

// none reports whether there is nothing to write.
func (e entries) none() bool { return len(e.desired.Providers)+len(e.desired.Shared) == 0 }

// A configuring is what the kubelet's configuration is planned from.
type configuring struct {
	*Desired
	seen    *Observed
	now     Moments
	plugin  plugin
	machine machine
	tree    tree
	// blocked are the namespaces that stay as they are.
	blocked map[string]bool
	held    heldBack
}
