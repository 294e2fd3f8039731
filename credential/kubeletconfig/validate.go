package kubeletconfig

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// pluginVersions are the versions of the exec protocol that the kubelet speaks
// (Kubernetes v1.37.0, pkg/credentialprovider/plugin/plugin.go, apiVersions).
var pluginVersions = []string{
	execVersion,
	"credentialprovider.kubelet.k8s.io/v1beta1",
	"credentialprovider.kubelet.k8s.io/v1alpha1",
}

// names are the names of the faults of a field.
var names = map[string]string{"apiVersion": BadAPIVersion}

// validate checks each provider by the rules of the kubelet (Kubernetes
// v1.37.0, pkg/credentialprovider/plugin/config.go,
// validateCredentialProviderConfig). Whether there is a provider at all is
// checked for all files together: see [Read].
func (d *document) validate() []*Fault {
	var faults []*Fault
	first := map[string]int{}
	for i, p := range d.config.Providers {
		prefix := fmt.Sprintf("providers[%d]", i)
		report := func(field, text, fix string) {
			name := names[field]
			field = prefix + "." + field
			faults = append(faults, &Fault{Name: name, Line: d.line(field), Field: field, Text: text, Fix: fix})
		}
		validateProvider(p, report)
		if j, ok := first[p.Name]; ok {
			report("name", fmt.Sprintf("%q is the name of providers[%d] too", p.Name, j), "take one out")
			faults[len(faults)-1].Name = NameTwice
		} else {
			first[p.Name] = i
		}
		if p.TokenAttributes != nil {
			validateToken(p, report)
		}
	}
	return faults
}

func validateProvider(p Provider, report func(field, text, fix string)) {
	if !namesFile(p.Name) {
		report("name", fmt.Sprintf("%q cannot name a file in the bin directory", p.Name), "write the executable's name without a directory or spaces")
	}
	if !slices.Contains(pluginVersions, p.APIVersion) {
		report("apiVersion", fmt.Sprintf("%q is not a version the kubelet speaks", p.APIVersion), fmt.Sprintf("write %q, or what the provider's documentation says", execVersion))
	}
	if len(p.MatchImages) == 0 {
		report("matchImages", "a provider needs at least one pattern", "write one, or take the provider out")
	}
	for i, pattern := range p.MatchImages {
		// Another provider's pattern may be one that never matches.
		if _, err := mirror.KubeletPattern(pattern); err != nil {
			report(fmt.Sprintf("matchImages[%d]", i), fmt.Sprintf("%q does not parse", pattern), "write host[:port][/path], with \"*\" in the host only")
		}
	}
	switch {
	case p.DefaultCacheDuration == nil:
		report("defaultCacheDuration", "it is missing", "write a duration such as \"10m\", or \"0s\" for no cache")
	case p.DefaultCacheDuration.Duration < 0:
		report("defaultCacheDuration", fmt.Sprintf("%q is negative", p.DefaultCacheDuration.Duration), "write \"0s\" for no cache")
	}
}

// namesFile reports whether a provider's name can name a file in the bin directory.
// The kubelet accepts an empty name and then fails to find the executable.
func namesFile(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/ \x00")
}

// validateToken checks what kubelets from 1.34 on check; whether the feature
// gate is on cannot be known here.
func validateToken(p Provider, report func(field, text, fix string)) {
	t := p.TokenAttributes
	if p.APIVersion != execVersion {
		report("tokenAttributes", fmt.Sprintf("service account tokens need a provider of apiVersion %q", execVersion), "write that, or take them out")
	}
	if t.ServiceAccountTokenAudience == "" {
		report("tokenAttributes.serviceAccountTokenAudience", "it is missing", "write the audience of the token")
	}
	if t.CacheType != CacheByToken && t.CacheType != CacheByServiceAccount {
		report("tokenAttributes.cacheType", fmt.Sprintf("%q is not a type of cache", t.CacheType), "write \"Token\" or \"ServiceAccount\"")
	}
	required, optional := t.RequiredServiceAccountAnnotationKeys, t.OptionalServiceAccountAnnotationKeys
	switch {
	case t.RequireServiceAccount == nil:
		report("tokenAttributes.requireServiceAccount", "it is missing", "write true or false")
	case !*t.RequireServiceAccount && len(required) > 0:
		report("tokenAttributes.requireServiceAccount", "required annotations need a service account", "write true")
	}
	validateKeys("tokenAttributes.requiredServiceAccountAnnotationKeys", required, nil, report)
	validateKeys("tokenAttributes.optionalServiceAccountAnnotationKeys", optional, required, report)
}

// validateKeys checks that annotation keys are valid, unique and not among
// others.
func validateKeys(field string, keys, others []string, report func(field, text, fix string)) {
	for i, key := range keys {
		at := fmt.Sprintf("%s[%d]", field, i)
		if content.IsLabelKey(strings.ToLower(key)) != nil {
			report(at, fmt.Sprintf("%q is not an annotation's key", key), "write one like \"example.com/client-id\"")
		}
		if slices.Contains(keys[:i], key) || slices.Contains(others, key) {
			report(at, fmt.Sprintf("%q is there twice", key), "take one out")
		}
	}
}
