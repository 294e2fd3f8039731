package bootstrap

import (
	"strings"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// partProviders removes mirrorcred's providers from the kubelet's configuration.
const partProviders Part = "providers"

func init() { parts[partProviders] = cutProviders }

// cutProviders returns the kubelet's configuration without mirrorcred's providers,
// nil if it has no others: the kubelet does not start with an empty one.
func cutProviders(data []byte) ([]byte, error) {
	entries, err := kubeletconfig.Read(kubeletconfig.File{Name: "config", Data: data})
	if err != nil {
		return nil, err
	}
	var others []kubeletconfig.Provider
	for _, e := range entries {
		if !isProvider(e.Name) {
			others = append(others, e.Provider)
		}
	}
	switch len(others) {
	case len(entries):
		return data, nil
	case 0:
		return nil, nil
	}
	return kubeletconfig.Config(data, kubeletconfig.Desired{Shared: others[:1], Stale: isProvider})
}

// isProvider reports whether a provider is mirrorcred's: its plugin, or the plugin
// under the name of a link to it.
func isProvider(name string) bool { return name == Plugin || strings.HasPrefix(name, Plugin+"-") }
