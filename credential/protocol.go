package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/internal/jsontext"
)

// The kubelet's exec protocol: k8s.io/kubelet v0.37,
// pkg/apis/credentialprovider/v1/types.go. These structs replace the Kubernetes
// codecs, so that the plugin starts faster; the tests compare them with those
// codecs.
const (
	apiVersion   = "credentialprovider.kubelet.k8s.io/v1"
	requestKind  = "CredentialProviderRequest"
	responseKind = "CredentialProviderResponse"
)

// A Request is what the kubelet writes to the plugin's standard input.
type Request struct {
	// Image is the repository the pod names, normalised and without tag or
	// digest, such as "docker.io/library/nginx".
	Image string
	// ServiceAccountToken and ServiceAccountAnnotations are set if the
	// provider's entry has tokenAttributes.
	ServiceAccountToken       Secret
	ServiceAccountAnnotations map[string]string
}

// DecodeRequest parses a CredentialProviderRequest. It ignores unknown fields,
// because newer kubelets may add some. The error never repeats the input, which
// may hold a token.
func DecodeRequest(data []byte) (Request, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Request{}, fmt.Errorf("the request on standard input is empty; the kubelet runs this program, see its flag --image-credential-provider-config")
	}
	var raw struct {
		Kind                      string            `json:"kind"`
		APIVersion                string            `json:"apiVersion"`
		Image                     string            `json:"image"`
		ServiceAccountToken       string            `json:"serviceAccountToken"`
		ServiceAccountAnnotations map[string]string `json:"serviceAccountAnnotations"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Request{}, fmt.Errorf("the request on standard input is not a JSON %s", requestKind)
	}
	switch {
	case raw.APIVersion != apiVersion:
		return Request{}, fmt.Errorf("the request has apiVersion %q; set apiVersion: %s for this provider in the kubelet's CredentialProviderConfig", clip(raw.APIVersion), apiVersion)
	case raw.Kind != requestKind:
		return Request{}, fmt.Errorf("the request has kind %q; this program answers %s", clip(raw.Kind), requestKind)
	case raw.Image == "":
		return Request{}, fmt.Errorf("the request names no image")
	case strings.Contains(raw.Image[strings.LastIndexByte(raw.Image, '@')+1:], "/") && strings.Contains(raw.Image, "@"):
		return Request{}, fmt.Errorf("the request's image has a user or password before its host; remove it, and name the registry's credential in the map")
	}
	return Request{raw.Image, Secret(raw.ServiceAccountToken), raw.ServiceAccountAnnotations}, nil
}

// clip bounds a foreign string for use in an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// A CacheKey says for which images the kubelet may use a cached answer.
type CacheKey string

// The kubelet's cache keys (cacheKeyType).
const (
	CacheByImage    CacheKey = "Image"
	CacheByRegistry CacheKey = "Registry"
	CacheForAll     CacheKey = "Global"
)

// A Response is what the plugin writes to its standard output.
type Response struct {
	CacheKey CacheKey
	// CacheFor is how long the kubelet may keep the answer; 0 means that the
	// kubelet asks again for each pull.
	CacheFor time.Duration
	// Auth is the credentials by their keys, which the kubelet matches against
	// the image (pkg/credentialprovider/keyring.go). Empty means that there is
	// no credential.
	Auth map[string]Credential
}

// Encode returns the response as one line of JSON. Its keys are in the order in
// which acr-credential-provider prints them, and auth is left out if it is
// empty. The result holds the secrets: write it only to the kubelet.
func (r Response) Encode() ([]byte, error) {
	w := jsontext.New(make([]byte, 0, 256))
	w.Open('{')
	w.Text("kind", responseKind)
	w.Text("apiVersion", apiVersion)
	w.Text("cacheKeyType", string(r.CacheKey))
	w.Text("cacheDuration", r.CacheFor.String())
	if len(r.Auth) > 0 {
		w.Key("auth")
		w.Open('{')
		for _, key := range slices.Sorted(maps.Keys(r.Auth)) {
			w.Key(key)
			w.Open('{')
			w.Text("username", r.Auth[key].Username)
			w.Text("password", r.Auth[key].Password.Reveal())
			w.Close('}')
		}
		w.Close('}')
	}
	w.Close('}')
	line, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode the response: %w", err)
	}
	return append(line, '\n'), nil
}
