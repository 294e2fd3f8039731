package mirror

import "strings"

// acrSuffixes are the suffixes of Azure Container Registry's login servers:
// public, China, Germany, US Government.
var acrSuffixes = [...]string{"azurecr.io", "azurecr.cn", "azurecr.de", "azurecr.us"}

// ACRSuffix returns the cloud's suffix, such as "azurecr.io", if h is the login
// server of an Azure Container Registry in a public cloud. A login server is
// NAME.SUFFIX or, for one region, NAME.REGION.geo.SUFFIX; NAME may have one
// hyphen, before the hash of a domain name label. Data endpoints, private link
// names and hosts with a port other than 443 are not login servers.
func (h Host) ACRSuffix() (suffix string, ok bool) {
	return h.acrSuffix(acrSuffixes[:])
}

// ACRSuffixIn is [Host.ACRSuffix] for a cloud with the given suffix, without a
// leading dot.
func (h Host) ACRSuffixIn(suffix string) bool {
	_, ok := h.acrSuffix([]string{suffix})
	return ok
}

func (h Host) acrSuffix(suffixes []string) (string, bool) {
	if port := h.Port(); port != "" && port != "443" {
		return "", false
	}
	for _, suffix := range suffixes {
		name, ok := strings.CutSuffix(h.Hostname(), "."+suffix)
		if !ok || suffix == "" {
			continue
		}
		if region, ok := strings.CutSuffix(name, ".geo"); ok {
			name, region, ok = strings.Cut(region, ".")
			if !ok || !isWord(region) {
				return "", false
			}
		}
		name, hash, hasHash := strings.Cut(name, "-")
		return suffix, isWord(name) && (!hasHash || isWord(hash))
	}
	return "", false
}

// mayBePrivateACR reports whether h has the name of a login server in a private
// cloud: NAME.azurecr.DOMAIN or NAME.azsacr.REGION.DOMAIN. Before the plugin
// sends it anything, it asks the cloud's resource manager whether it is one.
func (h Host) mayBePrivateACR() bool {
	labels := strings.Split(h.Hostname(), ".")
	return len(labels) > 3 && (labels[1] == "azurecr" || labels[1] == "azsacr") && isWord(labels[0])
}

// isWord reports whether s has only letters and digits, and at least one.
func isWord(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) {
			return false
		}
	}
	return s != ""
}
