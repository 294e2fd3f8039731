package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kubelet "k8s.io/kubelet/pkg/apis/credentialprovider"
	"k8s.io/kubelet/pkg/apis/credentialprovider/install"
)

const canary = "c4nary-Secret"

func TestDecodeResponse(t *testing.T) {
	const head = `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",`
	kubeletAccepts := kubeletDecoder()
	for in, want := range map[string]string{ // "" for none, else a part of the error
		head + `"cacheKeyType":"Image"}`:                                                              "",
		head + `"cacheKeyType":"Global","cacheDuration":null,"auth":null}` + "\n ":                    "",
		head + `"cacheKeyType":"Registry","cacheDuration":"-5m0s","auth":{"a.io":null}}`:              "",
		head + `"cacheKeyType":"Image","auth":{"a.io":{"username":"u","password":"` + canary + `"}}}`: "",
		head + `"cacheKeyType":"Image","auth":{"a.io":{"username":null}}}`:                            "",
		"":                                      "is empty",
		"null":                                  "is not a JSON object",
		"[]":                                    "is not a JSON object",
		canary:                                  "is not one JSON object",
		"kind: CredentialProviderResponse":      "is not one JSON object",
		`{"kind":"CredentialProviderResponse"}`: `has apiVersion "", not`,
		`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","cacheKeyType":"Image"}`: "use a version of the provider",
		`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"a.io/x"}`:             `has kind "CredentialProviderRequest"`,
		`{"kind":"CredentialProviderResponse","kind":"x","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}`:                  "has a field twice",
		head + `"cacheKeyType":"ServiceAccount"}`:                                                       `cacheKeyType "ServiceAccount"`,
		head + `"auth":{}}`:                                                                             `cacheKeyType ""`,
		head + `"cacheKeyType":7}`:                                                                      `cacheKeyType ""`,
		head + `"cacheKeyType":"Image","cacheDuration":300}`:                                            "cacheDuration is not",
		head + `"cacheKeyType":"Image","cacheDuration":"soon"}`:                                         "cacheDuration is not",
		head + `"cacheKeyType":"Image"}{}`:                                                              "is not one JSON object",
		head + `"cacheKeyType":"Image"} ` + canary:                                                      "is not one JSON object",
		head + `"cacheKeyType":"Image","cacheKeyType":"Image"}`:                                         "has a field twice",
		head + `"cacheKeyType":"Image","` + canary + `":1}`:                                             "has a field that the kubelet does not know",
		head + `"cacheKeyType":"Image","Auth":{}}`:                                                      "has a field that the kubelet does not know",
		head + `"cacheKeyType":"Image","auth":["` + canary + `"]}`:                                      "auth is not a JSON object",
		head + `"cacheKeyType":"Image","auth":{"a.io":{},"a.io":{}}}`:                                   "auth has a field twice",
		head + `"cacheKeyType":"Image","auth":{"a.io":"` + canary + `"}}`:                               "entry of the answer's auth is not a JSON object",
		head + `"cacheKeyType":"Image","auth":{"a.io":{"password":"a","password":"` + canary + `"}}}`:   "auth has a field twice",
		head + `"cacheKeyType":"Image","auth":{"a.io":{"username":"u","Password":"` + canary + `"}}}`:   "not a username and a password",
		head + `"cacheKeyType":"Image","auth":{"a.io":{"username":"u","password":["` + canary + `"]}}}`: "not a username and a password",
	} {
		r, err := DecodeResponse([]byte(in))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("DecodeResponse(%s) = %s; want %s", in, got, want)
		}
		if shown := fmt.Sprintf("%v %+v %#v", err, r, r); strings.Contains(shown, canary) {
			t.Errorf("DecodeResponse(%s) shows a secret: %s", in, shown)
		}
		if kubeletErr := kubeletAccepts([]byte(in)); (kubeletErr == nil) != (err == nil) {
			t.Errorf("DecodeResponse(%s) = %v; the kubelet says %v", in, err, kubeletErr)
		}
	}
}

// kubeletDecoder returns what the kubelet does with a provider's answer
// (Kubernetes v1.37.0, pkg/credentialprovider/plugin/plugin.go), by its own
// codec.
func kubeletDecoder() func([]byte) error {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	return func(data []byte) error {
		var meta struct {
			APIVersion string `json:"apiVersion,omitempty"`
			Kind       string `json:"kind,omitempty"`
		}
		if err := json.Unmarshal(data, &meta); err != nil {
			return err
		}
		if meta.APIVersion != apiVersion {
			return errors.New("apiVersion")
		}
		object, kind, err := decoder.Decode(data, nil, nil)
		if err != nil {
			return err
		}
		r, ok := object.(*kubelet.CredentialProviderResponse)
		if !ok || kind.Kind != responseKind {
			return errors.New("kind")
		}
		switch r.CacheKeyType {
		case kubelet.ImagePluginCacheKeyType, kubelet.RegistryPluginCacheKeyType, kubelet.GlobalPluginCacheKeyType:
			return nil
		}
		return errors.New("cacheKeyType")
	}
}

func TestRequestEncode(t *testing.T) {
	want := Request{"a.io/x", canary, map[string]string{"k": "v"}}
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRequest(data)
	if err != nil || got.Image != want.Image || got.ServiceAccountToken != want.ServiceAccountToken || got.ServiceAccountAnnotations["k"] != "v" {
		t.Errorf("DecodeRequest(Encode()) = %+v, %v; want %+v", got, err, want)
	}
	plain, _ := Request{Image: "a.io/x"}.Encode()
	if strings.Contains(string(plain), "serviceAccount") {
		t.Errorf("Encode() = %s; want no empty fields", plain)
	}
}

// FuzzDecodeResponse holds the promise that nothing is taken which the kubelet
// would refuse, and that what is taken is taken again after Encode.
func FuzzDecodeResponse(f *testing.F) {
	seed, _ := Response{CacheKey: CacheForAll, CacheFor: time.Minute, Auth: map[string]Credential{"a.io/x": {Username: "u", Password: "p"}}}.Encode()
	f.Add(seed)
	f.Add([]byte(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","cacheDuration":null,"auth":{"a":null}}`))
	kubeletAccepts := kubeletDecoder()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeResponse(data)
		if err != nil {
			return
		}
		if err := kubeletAccepts(data); err != nil {
			t.Fatalf("DecodeResponse(%q) takes what the kubelet refuses: %v", data, err)
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeResponse(again)
		if err != nil || back.CacheKey != r.CacheKey || back.CacheFor != r.CacheFor || len(back.Auth) != len(r.Auth) {
			t.Fatalf("DecodeResponse(Encode(%q)) = %+v, %v; want %+v", data, back, err, r)
		}
	})
}
