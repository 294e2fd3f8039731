// Package kubeletconfig writes mirrorcred's providers into the kubelet's
// CredentialProviderConfig.
//
// The kubelet reads that file only when it starts, and does not start at all if
// the file has a fault. The file is shared: on AKS another provider has an
// entry in it. So this package changes only the lines of mirrorcred's entries,
// and keeps every other byte. It reads its result back as the kubelet would,
// and returns it only if that finds no fault. It takes bytes and returns bytes.
// Start at [Config].
package kubeletconfig

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// execVersion is the version of the exec protocol that mirrorcred's plugin
// speaks.
const execVersion = "credentialprovider.kubelet.k8s.io/v1"

// A Provider is one entry under providers (k8s.io/kubelet v0.37.2,
// config/v1/types.go). If left out, its defaultCacheDuration becomes 0, because
// the kubelet's cache cannot be invalidated, and its apiVersion becomes v1 of
// the exec protocol.
type Provider = kubelet.CredentialProvider

// Ours are mirrorcred's providers in the kubelet's file. There is at least one,
// and no two have the same name.
type Ours struct {
	// Providers each have at least one pattern, and [mirror.ParsePattern]
	// accepts all of their patterns.
	Providers []Provider
	// Shared are entries of other programs that mirrorcred changes, as they
	// should become; see [Find]. They get no mark of mirrorcred's.
	Shared []Provider
	// Stale reports by its name whether a provider that is not among Providers is
	// mirrorcred's too and must be removed; nil means that there is none.
	Stale func(name string) bool

	reader *Reader // of the files
}

// Config returns the kubelet's file with mirrorcred's providers in it. old is
// the present content of the file, nil if there is no file. Everything else in
// it stays: other providers, comments, order, quoting. Only if the list of
// providers is in flow style, or if the file is JSON, does Config format the
// file anew, with the same meaning.
//
// It is an error if the kubelet would not start with the old file, unless the
// fault is in an entry of mirrorcred's, or is that there is no entry at all.
// Each fault is a *[Fault]. The apiVersion of the file stays:
// kubelet.config.k8s.io/v1, v1beta1 or v1alpha1. Config changes nothing in its
// own result.
func Config(old []byte, ours Ours) ([]byte, error) { return new(Reader).Config(old, ours) }

// Config is [Config].
func (r *Reader) Config(old []byte, ours Ours) ([]byte, error) {
	ours.reader = r
	ours, err := ours.checked()
	if err != nil {
		return nil, err
	}
	return config("", old, ours)
}

// config is Config for checked providers; faults are in the file of that name.
func config(file string, old []byte, ours Ours) ([]byte, error) {
	return ours.reader.remembered(ours.mergeKey(old), func() ([]byte, error) {
		data, err := merge(file, old, ours)
		if err != nil {
			return nil, err
		}
		again, err := merge(file, data, ours)
		if err != nil || !bytes.Equal(data, again) {
			return nil, errLayout
		}
		return data, nil
	})
}

// checked fills in what was left out, and refuses providers that the kubelet
// would refuse or never run (Kubernetes v1.37.0,
// pkg/credentialprovider/plugin/config.go, validateCredentialProviderConfig).
func (o Ours) checked() (Ours, error) {
	var errs []error
	if len(o.Providers)+len(o.Shared) == 0 {
		errs = append(errs, errors.New("the kubelet does not start without a provider; give at least one"))
	}
	o.Providers = slices.Clone(o.Providers)
	for i := range o.Providers {
		p := &o.Providers[i]
		if p.DefaultCacheDuration == nil {
			p.DefaultCacheDuration = &metav1.Duration{}
		}
		if p.APIVersion == "" {
			p.APIVersion = execVersion
		}
		errs = append(errs, check(*p)...)
		for _, pattern := range p.MatchImages {
			if _, err := mirror.ParsePattern(pattern); err != nil {
				errs = append(errs, fmt.Errorf("provider %q: matchImages: pattern %q: %w", p.Name, pattern, err))
			}
		}
	}
	for _, p := range o.Shared {
		errs = append(errs, check(p)...)
	}
	if o.Stale == nil {
		o.Stale = func(string) bool { return false }
	}
	return o, errors.Join(errs...)
}

// owns reports whether a provider of that name is mirrorcred's alone.
func (o Ours) owns(name string) bool {
	return has(o.Providers, name) || o.Stale(name)
}

func has(list []Provider, name string) bool {
	return slices.ContainsFunc(list, func(p Provider) bool { return p.Name == name })
}

func check(p Provider) []error {
	var errs []error
	report := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: %s: %s", p.Name, field, fmt.Sprintf(format, args...)))
	}
	validateProvider(p, report)
	if p.TokenAttributes != nil {
		validateToken(p, report)
	}
	for _, arg := range p.Args {
		if !utf8.ValidString(arg) || strings.ContainsRune(arg, 0) {
			errs = append(errs, fmt.Errorf("argument %q is not text; write it in UTF-8 without NUL", arg))
		}
	}
	return errs
}

// markerPrefix begins the line above mirrorcred's entry, in every release.
const markerPrefix = "# Generated by mirrorcred"

const marker = markerPrefix + ", which rewrites this entry; the other entries are never touched."

// starts are the beginnings of a file that is all mirrorcred's.
var starts = []string{"apiVersion: " + kubelet.GroupName, "{\n  \"apiVersion\": \"" + kubelet.GroupName}

// MayBeOurs reports whether data may be the result of [Config], or the
// beginning of one: what is left if writing the file was interrupted.
func MayBeOurs(data []byte) bool {
	return bytes.Contains(data, []byte(markerPrefix)) || slices.ContainsFunc(starts, func(start string) bool {
		n := min(len(data), len(start))
		return string(data[:n]) == start[:n]
	})
}

// lines returns p as an item of a block sequence, below mirrorcred's mark if it
// is mirrorcred's alone; nil has no lines.
func (o Ours) lines(p *Provider) []string {
	switch {
	case p == nil:
		return nil
	case has(o.Shared, p.Name):
		return lines(*p)
	}
	return append([]string{marker}, lines(*p)...)
}

// lines returns p as an item of a block sequence, without line ends. Not an
// encoder: the bytes must not change with its version, and every value is
// quoted so that no YAML reader takes it for a number or a bool. The escapes of
// strconv.Quote are valid YAML.
func lines(p Provider) []string {
	lines := []string{"- name: " + strconv.Quote(p.Name)}
	list := func(indent, key string, values []string) {
		if len(values) == 0 {
			return
		}
		lines = append(lines, indent+key+":")
		for _, v := range values {
			lines = append(lines, indent+"  - "+strconv.Quote(v))
		}
	}
	list("  ", "matchImages", p.MatchImages)
	lines = append(lines,
		"  defaultCacheDuration: "+strconv.Quote(p.DefaultCacheDuration.Duration.String()),
		"  apiVersion: "+p.APIVersion)
	list("  ", "args", p.Args)
	if len(p.Env) > 0 {
		lines = append(lines, "  env:")
	}
	for _, e := range p.Env {
		lines = append(lines, "    - name: "+strconv.Quote(e.Name), "      value: "+strconv.Quote(e.Value))
	}
	if t := p.TokenAttributes; t != nil {
		lines = append(lines,
			"  tokenAttributes:",
			"    serviceAccountTokenAudience: "+strconv.Quote(t.ServiceAccountTokenAudience),
			"    cacheType: "+strconv.Quote(string(t.CacheType)),
			"    requireServiceAccount: "+strconv.FormatBool(*t.RequireServiceAccount))
		list("    ", "requiredServiceAccountAnnotationKeys", t.RequiredServiceAccountAnnotationKeys)
		list("    ", "optionalServiceAccountAnnotationKeys", t.OptionalServiceAccountAnnotationKeys)
	}
	return lines
}
