package kubeletconfig

import "strings"

// maxLabels is how many labels a host of [AnyHost] may have. The longest
// registry names in use, private endpoints of the large clouds, have nine.
const maxLabels = 16

// AnyHost returns the patterns that together match every image whose host has
// no port, for hosts of up to 16 labels: a "*" matches one label only, and a
// pattern without a port matches no host with one (Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go, URLsMatch).
func AnyHost() []string {
	patterns := make([]string, maxLabels)
	for i := range patterns {
		patterns[i] = strings.Repeat("*.", i) + "*"
	}
	return patterns
}

// ACRHosts returns the patterns of the login servers of Azure Container
// Registry in every public cloud, global and regional, as AKS writes them
// (AgentBaker, parts/linux/cloud-init/artifacts/cse_config.sh,
// writeCredentialProviderConfig). A private cloud needs one more pattern.
func ACRHosts() []string {
	var patterns []string
	for _, labels := range []string{"*.", "*.*.geo."} {
		for _, suffix := range []string{"azurecr.io", "azurecr.cn", "azurecr.de", "azurecr.us"} {
			patterns = append(patterns, labels+suffix)
		}
	}
	return patterns
}
