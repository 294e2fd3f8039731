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
		report := func(field, format string, args ...any) {
			field = prefix + "." + field
			faults = append(faults, &Fault{Name: names[strings.TrimPrefix(field, prefix+".")], Line: d.line(field), Field: field, Text: fmt.Sprintf(format, args...)})
		}
		validateProvider(p, report)
		if j, ok := first[p.Name]; ok {
			report("name", "%q is the name of providers[%d] too; take one out", p.Name, j)
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

func validateProvider(p Provider, report func(field, format string, args ...any)) {
	if text := nameFault(p.Name); text != "" {
		report("name", "%q %s", p.Name, text)
	}
	if !slices.Contains(pluginVersions, p.APIVersion) {
		report("apiVersion", "%q is not a version the kubelet speaks; write %q, or what the provider's documentation says", p.APIVersion, execVersion)
	}
	if len(p.MatchImages) == 0 {
		report("matchImages", "a provider needs at least one pattern; write one, or take the provider out")
	}
	for i, pattern := range p.MatchImages {
		// Another provider's pattern may be one that never matches.
		if _, err := mirror.KubeletPattern(pattern); err != nil {
			report(fmt.Sprintf("matchImages[%d]", i), "%q does not parse; write host[:port][/path], with \"*\" in the host only", pattern)
		}
	}
	switch {
	case p.DefaultCacheDuration == nil:
		report("defaultCacheDuration", "it is missing; write a duration such as \"10m\", or \"0s\" for no cache")
	case p.DefaultCacheDuration.Duration < 0:
		report("defaultCacheDuration", "%q is negative; write \"0s\" for no cache", p.DefaultCacheDuration.Duration)
	}
}

// nameFault says what is wrong with a provider's name, which is a file name in
// the bin directory. The kubelet accepts an empty name and then fails to find
// the executable.
func nameFault(name string) string {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/ \x00") {
		return "cannot name a file in the bin directory; write the executable's name without a directory or spaces"
	}
	return ""
}

// validateToken checks what kubelets from 1.34 on check; whether the feature
// gate is on cannot be known here.
func validateToken(p Provider, report func(field, format string, args ...any)) {
	t := p.TokenAttributes
	if p.APIVersion != execVersion {
		report("tokenAttributes", "service account tokens need a provider of apiVersion %q; write that, or take them out", execVersion)
	}
	if t.ServiceAccountTokenAudience == "" {
		report("tokenAttributes.serviceAccountTokenAudience", "it is missing; write the audience of the token")
	}
	if t.CacheType != CacheByToken && t.CacheType != CacheByServiceAccount {
		report("tokenAttributes.cacheType", "%q is not a type of cache; write \"Token\" or \"ServiceAccount\"", t.CacheType)
	}
	required, optional := t.RequiredServiceAccountAnnotationKeys, t.OptionalServiceAccountAnnotationKeys
	switch {
	case t.RequireServiceAccount == nil:
		report("tokenAttributes.requireServiceAccount", "it is missing; write true or false")
	case !*t.RequireServiceAccount && len(required) > 0:
		report("tokenAttributes.requireServiceAccount", "required annotations need a service account; write true")
	}
	validateKeys("tokenAttributes.requiredServiceAccountAnnotationKeys", required, nil, report)
	validateKeys("tokenAttributes.optionalServiceAccountAnnotationKeys", optional, required, report)
}

// validateKeys checks that annotation keys are valid, unique and not among
// others.
func validateKeys(field string, keys, others []string, report func(field, format string, args ...any)) {
	for i, key := range keys {
		at := fmt.Sprintf("%s[%d]", field, i)
		if content.IsLabelKey(strings.ToLower(key)) != nil {
			report(at, "%q is not an annotation's key; write one like \"example.com/client-id\"", key)
		}
		if slices.Contains(keys[:i], key) || slices.Contains(others, key) {
			report(at, "%q is there twice; take one out", key)
		}
	}
}
