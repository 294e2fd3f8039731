package kubeletconfig

import (
	"reflect"
	"testing"

	kubelet "k8s.io/kubelet/config/v1"
	"k8s.io/kubelet/config/v1alpha1"
)

// TestTypes compares the types with the kubelet's own: the same fields, in the
// same order, with the same keys.
func TestTypes(t *testing.T) {
	same(t, "v1", reflect.TypeFor[configuration](), reflect.TypeFor[kubelet.CredentialProviderConfig]())
	same(t, "v1alpha1", reflect.TypeFor[olderConfiguration](), reflect.TypeFor[v1alpha1.CredentialProviderConfig]())
	if group != kubelet.GroupName || CacheByToken != CacheType(kubelet.TokenServiceAccountTokenCacheType) || CacheByServiceAccount != CacheType(kubelet.ServiceAccountServiceAccountTokenCacheType) {
		t.Errorf("the group is %q, the types of cache are %q and %q", group, CacheByToken, CacheByServiceAccount)
	}
}

func same(t *testing.T, at string, ours, theirs reflect.Type) {
	t.Helper()
	if ours.Kind() != theirs.Kind() {
		t.Errorf("%s is a %s; the kubelet has a %s", at, ours, theirs)
		return
	}
	switch ours.Kind() {
	case reflect.Pointer, reflect.Slice:
		same(t, at, ours.Elem(), theirs.Elem())
	case reflect.Struct:
		if ours.NumField() != theirs.NumField() {
			t.Errorf("%s has %d fields; the kubelet's has %d", at, ours.NumField(), theirs.NumField())
			return
		}
		for i := range ours.NumField() {
			a, b := ours.Field(i), theirs.Field(i)
			if !a.Anonymous && a.Name != b.Name || a.Anonymous != b.Anonymous || a.Tag.Get("json") != b.Tag.Get("json") {
				t.Errorf("%s: field %s %q; the kubelet has %s %q", at, a.Name, a.Tag, b.Name, b.Tag)
			}
			same(t, at+"."+b.Name, a.Type, b.Type)
		}
	}
}

// ofKubelet returns the kubelet's providers as this package has them.
func ofKubelet(list []kubelet.CredentialProvider) []Provider {
	var providers []Provider
	for _, p := range list {
		n := Provider{Name: p.Name, MatchImages: p.MatchImages, DefaultCacheDuration: (*Duration)(p.DefaultCacheDuration), APIVersion: p.APIVersion, Args: p.Args}
		for _, e := range p.Env {
			n.Env = append(n.Env, EnvVar(e))
		}
		if a := p.TokenAttributes; a != nil {
			n.TokenAttributes = &TokenAttributes{a.ServiceAccountTokenAudience, CacheType(a.CacheType), a.RequireServiceAccount, a.RequiredServiceAccountAnnotationKeys, a.OptionalServiceAccountAnnotationKeys}
		}
		providers = append(providers, n)
	}
	return providers
}
