package kubeletconfig

import (
	"reflect"
	"strings"
	"testing"
)

// theirs is an entry as AKS writes it.
const theirs = `  # of the cluster
  - name: acr-credential-provider
    matchImages:
    - "*.azurecr.io"
    - mcr.microsoft.com # the mirror
    defaultCacheDuration: 10m
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    tokenAttributes:
      serviceAccountTokenAudience: api://AKSIdentityBinding
      requireServiceAccount: false
      cacheType: ServiceAccount
    args:
    - /etc/kubernetes/azure.json
    - --registry-mirror=mcr.microsoft.com:contoso.azurecr.io
`

// TestShared changes an entry of another program's: it stays theirs, and the rest
// of the file as it was.
func TestShared(t *testing.T) {
	old := head + "providers:\n" + theirs + other
	p, ok, err := new(Reader).Find([]File{{"a", []byte(head + "providers:\n" + other)}, {"b", []byte(old)}}, "acr-credential-provider")
	if !ok || err != nil || len(p.MatchImages) != 2 || len(p.Args) != 2 || p.TokenAttributes == nil {
		t.Fatalf("Find = %+v, %v, %v", p, ok, err)
	}
	same, err := Config([]byte(old), Desired{Shared: []Provider{p}})
	if err != nil || string(same) != old {
		t.Errorf("Config of the same = %s, %v; want it untouched", same, err)
	}
	p.Args[1] = "--registry-mirror=mcr.microsoft.com:fabrikam.azurecr.io"
	p.MatchImages = append(p.MatchImages, "odd.example:x") // theirs, though it matches nothing
	data, err := Config([]byte(old), Desired{Shared: []Provider{p}})
	if err == nil {
		t.Errorf("Config with a pattern that keeps the kubelet from starting:\n%s", data)
	}
	p.MatchImages[2] = "*.example:5000"
	data, err = Config([]byte(old), Desired{Shared: []Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAsKubelet(data)
	if err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], p) || got[1].Name != "other" {
		t.Errorf("Config = %s, %v", data, err)
	}
	if text := string(data); strings.Contains(text, markerPrefix) || !strings.HasSuffix(text, other) || !strings.Contains(text, "# the mirror") {
		t.Errorf("Config = %s; want no mark, the comment and the other entry", text)
	}
	if again, err := Config(data, Desired{Providers: []Provider{ours}, Shared: []Provider{p}}); err != nil || !strings.HasPrefix(string(again), string(data)) {
		t.Errorf("Config with mirrorcred's beside it = %s, %v", again, err)
	}
	if _, _, err := new(Reader).Find([]File{{"b", []byte(strings.Replace(old, "    args", "    argz", 1))}}, p.Name); err == nil || !strings.Contains(err.Error(), "argz") {
		t.Errorf("Find with an unknown field: %v", err)
	}
}

func TestSharedInADirectory(t *testing.T) {
	p, _, _ := new(Reader).Find([]File{{"b", []byte(head + "providers:\n" + theirs)}}, "acr-credential-provider")
	p.Args = p.Args[:1]
	dir := map[string][]byte{"00-aks.yaml": []byte(head + "providers:\n" + theirs)}
	if _, _, err := new(Reader).Dir(dir, Desired{Shared: []Provider{p}}); err == nil || !strings.Contains(err.Error(), `00-aks.yaml:5: providers[0].name: "acr-credential-provider" must change`) {
		t.Errorf("Dir with the entry in another file: %v", err)
	}
	dir = map[string][]byte{FileName: dir["00-aks.yaml"]}
	if name, data, err := new(Reader).Dir(dir, Desired{Shared: []Provider{p}}); err != nil || name != FileName || strings.Contains(string(data), "--registry-mirror") {
		t.Errorf("Dir = %s, %s, %v", name, data, err)
	}
}

// TestSharedJSON changes the entry in a file that is JSON, and keeps the others.
func TestSharedJSON(t *testing.T) {
	entry := func(name, more string) string {
		return `{"name":"` + name + `","matchImages":["a.io"],"defaultCacheDuration":"10m","apiVersion":"` + execVersion + `"` + more + `}`
	}
	old := `{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[` + entry("acr-credential-provider", `,"args":["/a"]`) + "," + entry("other", "") + "]}"
	p, ok, err := new(Reader).Find([]File{{"f", []byte(old)}}, "acr-credential-provider")
	if !ok || err != nil {
		t.Fatal(p, ok, err)
	}
	if same, err := Config([]byte(old), Desired{Shared: []Provider{p}}); err != nil || string(same) != old {
		t.Errorf("Config of the same = %s, %v; want it untouched", same, err)
	}
	p.Args = append(p.Args, "--registry-mirror=a.io:b.azurecr.io")
	data, err := Config([]byte(old), Desired{Shared: []Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeAsKubelet(data); err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], p) || got[1].Name != "other" {
		t.Errorf("Config = %s, %v", data, err)
	}
}
