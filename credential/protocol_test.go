package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/kubelet/pkg/apis/credentialprovider"
	"k8s.io/kubelet/pkg/apis/credentialprovider/install"
	v1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// codecs returns the kubelet's own, as its pkg/credentialprovider/plugin makes
// them: strict, so that an unknown or doubled field of an answer is an error.
func codecs() (runtime.Encoder, runtime.Decoder) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	factory := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	info, _ := runtime.SerializerInfoForMediaType(factory.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return factory.EncoderForVersion(info.Serializer, v1.SchemeGroupVersion), factory.UniversalDecoder(credentialprovider.SchemeGroupVersion)
}

// encodeRequest returns a request as the kubelet writes it.
func encodeRequest(t testing.TB, r Request) []byte {
	t.Helper()
	encoder, _ := codecs()
	data, err := runtime.Encode(encoder, &credentialprovider.CredentialProviderRequest{
		Image: r.Image, ServiceAccountToken: r.ServiceAccountToken.Reveal(), ServiceAccountAnnotations: r.ServiceAccountAnnotations,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// equal compares requests as the kubelet means them: no annotations and none
// are the same.
func equal(a, b Request) bool {
	return a.Image == b.Image && a.ServiceAccountToken == b.ServiceAccountToken && maps.Equal(a.ServiceAccountAnnotations, b.ServiceAccountAnnotations)
}

func TestDecodeRequestOfKubelet(t *testing.T) {
	for name, want := range map[string]Request{
		"image":       {Image: "docker.io/library/nginx"},
		"token":       {Image: "a.io/x", ServiceAccountToken: "a.b.c"},
		"annotations": {Image: "a.io/x", ServiceAccountToken: "a.b.c", ServiceAccountAnnotations: map[string]string{"k.io/a": "<&>", "b": "\"é\n"}},
		"port":        {Image: "[::1]:5000/x"},
	} {
		data := encodeRequest(t, want)
		if got, err := DecodeRequest(data); err != nil || !equal(got, want) {
			t.Errorf("%s: DecodeRequest(%s) = %+v, %v; want %+v", name, data, got, err, want)
		}
	}
}

func TestDecodeRequestFaults(t *testing.T) {
	const version = `"apiVersion":"credentialprovider.kubelet.k8s.io/v1"`
	for in, want := range map[string]string{
		"":             "is empty",
		" \n":          "is empty",
		"kind: x":      "not a JSON CredentialProviderRequest",
		"[]":           "not a JSON CredentialProviderRequest",
		"null":         `apiVersion ""`,
		`{"image":"x"`: "not a JSON CredentialProviderRequest",
		`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","image":"a/x"}`: "set apiVersion: credentialprovider.kubelet.k8s.io/v1 for this provider",
		`{"kind":"CredentialProviderRequest","apiVersion":"foo.k8s.io/v1","image":"a/x"}`:                             `apiVersion "foo.k8s.io/v1"`,
		`{"kind":"CredentialProviderResponse",` + version + `,"image":"a/x"}`:                                         `kind "CredentialProviderResponse"`,
		`{"kind":"CredentialProviderRequest",` + version + `,"image":""}`:                                             "names no image",
		`{"kind":"CredentialProviderRequest",` + version + `,"image":"u:CANARY-@foo.io/x"}`:                           "user or password before its host",
		`{"kind":"CredentialProviderRequest",` + version + `,"image":"https://u:CANARY-@foo.io/x@sha256:1/y"}`:        "user or password before its host",
		`{"kind":"CredentialProviderRequest",` + version + `,"image":"a/x"} {}`:                                       "not a JSON CredentialProviderRequest",
		`{"kind":"CredentialProviderRequest",` + version + `,"image":"a/x","serviceAccountToken":{"CANARY-":1}}`:      "not a JSON CredentialProviderRequest",
		`{"kind":"` + strings.Repeat(`x\n`, 999) + `",` + version + `}`:                                               `…"`,
	} {
		_, err := DecodeRequest([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "CANARY-") {
			t.Errorf("DecodeRequest(%.99q) = %v; want one line with %s", in, err, want)
		}
	}
	// A kubelet to come may say more than this one.
	if _, err := DecodeRequest([]byte(`{"kind":"CredentialProviderRequest",` + version + `,"image":"a/x","new":{"x":[1]}}`)); err != nil {
		t.Errorf("DecodeRequest with an unknown field = %v", err)
	}
}

// FuzzDecodeRequest checks that what is taken for a request is one that the
// kubelet's codec writes, and that a fault is one line.
func FuzzDecodeRequest(f *testing.F) {
	f.Add(encodeRequest(f, Request{Image: "docker.io/library/nginx"}))
	f.Add(encodeRequest(f, Request{Image: "a.io/x", ServiceAccountToken: "a.b.c", ServiceAccountAnnotations: map[string]string{"a": "b"}}))
	f.Add([]byte(`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","image":"x"}`))
	f.Add([]byte(`{"Kind":"CredentialProviderRequest","apiVersion":"\xff\u2028"}`))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeRequest(data)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\n\r") || len(text) > 600 {
				t.Fatalf("DecodeRequest(%q) = %q; want one short line", data, text)
			}
			return
		}
		again, err := DecodeRequest(encodeRequest(t, got))
		if err != nil || !equal(got, again) {
			t.Fatalf("DecodeRequest(%q) = %+v; by way of the kubelet's codec %+v, %v", data, got, again, err)
		}
	})
}

// TestEncodeForKubelet has the kubelet's codec read what mirrorcred writes.
func TestEncodeForKubelet(t *testing.T) {
	_, decoder := codecs()
	for name, r := range map[string]Response{
		"nothing":   {CacheKey: CacheByRegistry},
		"by image":  {CacheKey: CacheByImage, Auth: map[string]Credential{"a.io": {Username: "u", Password: "p"}}},
		"an hour":   {CacheKey: CacheByRegistry, CacheFor: time.Hour, Auth: map[string]Credential{"*.azurecr.*": {}, "a.azurecr.io": {Username: "u", Password: "p"}}},
		"59.5s":     {CacheKey: CacheByImage, CacheFor: 59500 * time.Millisecond},
		"odd bytes": {CacheKey: CacheByImage, Auth: map[string]Credential{"a.io/x": {Username: `<&>"\`, Password: "\u2028\x00\n\té"}}},
		"expiring":  {CacheKey: CacheByImage, Auth: map[string]Credential{"a.io": {Username: "u", Password: "p", Expires: time.Unix(1, 0)}}},
	} {
		line, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.IndexByte(line, '\n'); n != len(line)-1 {
			t.Errorf("%s: %q is not one line", name, line)
		}
		object, kind, err := decoder.Decode(line, nil, nil)
		got, ok := object.(*credentialprovider.CredentialProviderResponse)
		if err != nil || !ok || kind.GroupVersion() != v1.SchemeGroupVersion {
			t.Errorf("%s: the kubelet decodes %s as %v %T, %v", name, line, kind, object, err)
			continue
		}
		auth := map[string]Credential{}
		for key, c := range got.Auth {
			auth[key] = Credential{Username: c.Username, Password: Secret(c.Password), Expires: r.Auth[key].Expires}
		}
		if string(got.CacheKeyType) != string(r.CacheKey) || got.CacheDuration == nil || got.CacheDuration.Duration != r.CacheFor || !maps.Equal(auth, r.Auth) {
			t.Errorf("%s: the kubelet reads %s as %+v", name, line, got)
		}
	}
}

// TestSecretPrints checks that a secret is nowhere in what fmt makes of it.
func TestSecretPrints(t *testing.T) {
	const canary = "CANARY-x"
	for name, v := range map[string]any{
		"secret":     Secret(canary),
		"pointer":    new(Secret),
		"credential": Credential{Username: "u", Password: canary},
		"ask":        &Query{ServiceAccountToken: canary},
		"request":    []Request{{ServiceAccountToken: canary}},
		"response":   Response{Auth: map[string]Credential{"a": {Password: canary}}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s: Sprintf(%s) = %s", name, verb, got)
			}
		}
	}
}

// TestEncodeResponseAsJSON checks that a response is what package json makes of it.
func TestEncodeResponseAsJSON(t *testing.T) {
	type login struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	texts := []string{"", "u", "a.io", "*.azurecr.*/x", `<&>"\`, "\u2028\x00\n\té", "\xff"}
	for i, one := range texts {
		for j, two := range texts {
			r := Response{CacheKey: CacheByImage, CacheFor: time.Duration(i*j) * 1500 * time.Millisecond}
			want := struct {
				Kind         string           `json:"kind"`
				APIVersion   string           `json:"apiVersion"`
				CacheKeyType CacheKey         `json:"cacheKeyType"`
				CacheFor     string           `json:"cacheDuration"`
				Auth         map[string]login `json:"auth,omitempty"`
			}{responseKind, apiVersion, r.CacheKey, r.CacheFor.String(), map[string]login{}}
			r.Auth = map[string]Credential{}
			for range j {
				key := two + texts[len(r.Auth)]
				r.Auth[key], want.Auth[key] = Credential{Username: one, Password: Secret(two)}, login{one, two}
			}
			line, err := r.Encode()
			text, err2 := json.Marshal(want)
			if err != nil || err2 != nil || string(line) != string(text)+"\n" {
				t.Errorf("Encode() = %s, %v; want %s, %v", line, err, text, err2)
			}
		}
	}
}
