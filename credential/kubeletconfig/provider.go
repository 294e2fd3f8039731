package kubeletconfig

import (
	"encoding/json"
	"time"
)

// The kubelet's own types are not used: four structs would bring 40 packages of
// Kubernetes and 1.7 MB. A test compares these with those, field by field
// (k8s.io/kubelet v0.37.2, config/v1/types.go).

// group is the API group of the kubelet's files.
const group = "kubelet.config.k8s.io"

// A Provider is one entry under providers. If left out, its defaultCacheDuration
// becomes 0, because the kubelet's cache cannot be invalidated, and its
// apiVersion becomes v1 of the exec protocol.
type Provider struct {
	Name                 string           `json:"name"`
	MatchImages          []string         `json:"matchImages"`
	DefaultCacheDuration *Duration        `json:"defaultCacheDuration"`
	APIVersion           string           `json:"apiVersion"`
	Args                 []string         `json:"args,omitempty"`
	Env                  []EnvVar         `json:"env,omitempty"`
	TokenAttributes      *TokenAttributes `json:"tokenAttributes,omitempty"`
}

// An EnvVar is a variable in the environment of a provider.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TokenAttributes have the kubelet give a provider a token of the pod's service
// account.
type TokenAttributes struct {
	ServiceAccountTokenAudience          string    `json:"serviceAccountTokenAudience"`
	CacheType                            CacheType `json:"cacheType"`
	RequireServiceAccount                *bool     `json:"requireServiceAccount"`
	RequiredServiceAccountAnnotationKeys []string  `json:"requiredServiceAccountAnnotationKeys,omitempty"`
	OptionalServiceAccountAnnotationKeys []string  `json:"optionalServiceAccountAnnotationKeys,omitempty"`
}

// NeedsPod reports whether the kubelet runs a provider only for pods that have a
// service account.
func (p Provider) NeedsPod() bool {
	t := p.TokenAttributes
	return t != nil && t.RequireServiceAccount != nil && *t.RequireServiceAccount
}

// A CacheType says by what the kubelet caches the answers of a provider that gets
// tokens.
type CacheType string

// The types of cache.
const (
	CacheByToken          CacheType = "Token"
	CacheByServiceAccount CacheType = "ServiceAccount"
)

// A Duration is written like "1m30s".
type Duration struct{ time.Duration }

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err != nil {
		return err
	}
	d.Duration, err = time.ParseDuration(text)
	return err
}

// MarshalJSON implements [json.Marshaler].
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// A typeMeta is how the kubelet tells what a file holds.
type typeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

// A configuration is a file's content.
type configuration struct {
	typeMeta  `json:""`
	Providers []Provider `json:"providers"`
}

// An olderConfiguration is one of v1beta1 or v1alpha1.
type olderConfiguration struct {
	typeMeta  `json:""`
	Providers []olderProvider `json:"providers"`
}

type olderProvider struct {
	Name                 string    `json:"name"`
	MatchImages          []string  `json:"matchImages"`
	DefaultCacheDuration *Duration `json:"defaultCacheDuration"`
	APIVersion           string    `json:"apiVersion"`
	Args                 []string  `json:"args,omitempty"`
	Env                  []EnvVar  `json:"env,omitempty"`
}
