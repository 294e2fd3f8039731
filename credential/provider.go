package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Encode returns the request as the kubelet writes it to a provider
// (k8s.io/kubelet v0.37, pkg/apis/credentialprovider/v1/types.go). The result
// holds the token: send it only to that provider.
func (r Request) Encode() ([]byte, error) {
	line, err := json.Marshal(struct {
		Kind        string            `json:"kind"`
		APIVersion  string            `json:"apiVersion"`
		Image       string            `json:"image"`
		Token       string            `json:"serviceAccountToken,omitempty"`
		Annotations map[string]string `json:"serviceAccountAnnotations,omitempty"`
	}{requestKind, apiVersion, r.Image, r.ServiceAccountToken.Reveal(), r.ServiceAccountAnnotations})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return append(line, '\n'), nil
}

// DecodeResponse parses a provider's answer as strictly as the kubelet does
// (Kubernetes v1.37.0, pkg/credentialprovider/plugin/plugin.go, ExecPlugin and
// provideWithCoordinates): one JSON object of the right apiVersion and kind,
// with a known cacheKeyType, and without fields that are unknown, spelled in
// another case, or there twice. Without a cacheDuration, CacheFor is 0, because
// there is no default here. The error repeats no values except those of
// apiVersion, kind and cacheKeyType, and no field names.
func DecodeResponse(data []byte) (Response, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Response{}, errors.New("the answer is empty")
	}
	fields, err := object(data)
	if err != nil {
		return Response{}, fmt.Errorf("the answer %w", err)
	}
	version, kind, key := text(fields["apiVersion"]), text(fields["kind"]), text(fields["cacheKeyType"])
	switch {
	case version != apiVersion:
		return Response{}, fmt.Errorf("the answer has apiVersion %q, not %s; use a version of the provider that speaks it", clip(version), apiVersion)
	case kind != responseKind:
		return Response{}, fmt.Errorf("the answer has kind %q, not %s", clip(kind), responseKind)
	case !known(fields, "apiVersion", "kind", "cacheKeyType", "cacheDuration", "auth"):
		return Response{}, errors.New("the answer has a field that the kubelet does not know; its fields are apiVersion, kind, cacheKeyType, cacheDuration and auth")
	}
	r := Response{CacheKey: CacheKey(key)}
	if !slices.Contains([]CacheKey{CacheByImage, CacheByRegistry, CacheForAll}, r.CacheKey) {
		return Response{}, fmt.Errorf("the answer has cacheKeyType %q; the kubelet takes Image, Registry and Global", clip(key))
	}
	if d := fields["cacheDuration"]; !absent(d) {
		if r.CacheFor, err = time.ParseDuration(text(d)); err != nil {
			return Response{}, errors.New("the answer's cacheDuration is not a time such as \"5m0s\"")
		}
	}
	r.Auth, err = decodeAuth(fields["auth"])
	return r, err
}

// decodeAuth parses the field auth; null is the zero value, as everywhere.
func decodeAuth(data json.RawMessage) (map[string]Credential, error) {
	if absent(data) {
		return nil, nil
	}
	entries, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("the answer's auth %w", err)
	}
	auth := make(map[string]Credential, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if absent(entries[key]) {
			auth[key] = Credential{}
			continue
		}
		fields, err := object(entries[key])
		if err != nil {
			return nil, fmt.Errorf("an entry of the answer's auth %w", err)
		}
		if !known(fields, "username", "password") || !isText(fields["username"]) || !isText(fields["password"]) {
			return nil, errors.New("an entry of the answer's auth is not a username and a password, both strings, and nothing else")
		}
		auth[key] = Credential{Username: text(fields["username"]), Password: Secret(text(fields["password"]))}
	}
	return auth, nil
}

// object splits a JSON object into its fields. encoding/json alone would accept
// what the kubelet refuses: a repeated key, a key in another case, and data
// after the object.
func object(data []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(data) {
		return nil, errors.New("is not one JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errors.New("is not a JSON object")
		}
		key, _ := name.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errors.New("is not a JSON object")
		}
		if _, twice := fields[key]; twice {
			return nil, errors.New("has a field twice")
		}
		fields[key] = value
	}
	return fields, nil
}

func known(fields map[string]json.RawMessage, names ...string) bool {
	for name := range fields {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

func absent(data json.RawMessage) bool { return len(data) == 0 || string(data) == "null" }

func isText(data json.RawMessage) bool {
	return absent(data) || strings.HasPrefix(string(data), `"`)
}

// text returns a JSON string's text, and "" for anything else.
func text(data json.RawMessage) string {
	var s string
	if json.Unmarshal(data, &s) != nil {
		return ""
	}
	return s
}
