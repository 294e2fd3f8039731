package kubeletconfig

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kubelet "k8s.io/kubelet/config/v1"
	"k8s.io/kubelet/config/v1alpha1"

	"github.com/mirrorcred/mirrorcred/mirror"
)

var update = flag.Bool("update", false, "rewrite the goldens")

var ours = Provider{
	Name:                 "mirror-credential-provider",
	MatchImages:          []string{"*.azurecr.io", "mcr.microsoft.com"},
	DefaultCacheDuration: &Duration{},
	APIVersion:           execVersion,
	Args:                 []string{"/etc/kubernetes/azure.json", "--registry-mirror=@/var/lib/mirrorcred/routes"},
}

// ofPods is a provider of mirrorcred's that gets tokens, with all that one can
// have.
var ofPods = Provider{
	Name:                 "mirror-credential-provider-pods",
	MatchImages:          []string{"harbor.corp:8443"},
	DefaultCacheDuration: &Duration{Duration: 90 * time.Second},
	APIVersion:           execVersion,
	Args:                 []string{"yes", "1"},
	Env:                  []EnvVar{{Name: "A", Value: "0x1"}, {Name: "B", Value: ": #"}},
	TokenAttributes: &TokenAttributes{
		ServiceAccountTokenAudience:          "api://x: y",
		CacheType:                            CacheByToken,
		RequireServiceAccount:                new(true),
		RequiredServiceAccountAnnotationKeys: []string{"a.io/b"},
		OptionalServiceAccountAnnotationKeys: []string{"a.io/c", "d"},
	},
}

// only returns p as the only one of mirrorcred's.
func only(p Provider) Desired { return Desired{Providers: []Provider{p}} }

// codec is the kubelet's (pkg/credentialprovider/plugin/plugin.go, init), but
// for v1beta1, whose package brings half of Kubernetes: its provider has
// v1alpha1's fields.
var codec = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubelet.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	scheme.AddKnownTypes(schema.GroupVersion{Group: kubelet.GroupName, Version: "v1beta1"}, &v1alpha1.CredentialProviderConfig{})
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// decodeAsKubelet returns the providers of a file, by the kubelet's codec.
func decodeAsKubelet(data []byte) ([]Provider, error) {
	obj, _, err := codec.Decode(data, nil, nil)
	if err != nil {
		return nil, err
	}
	switch c := obj.(type) {
	case *kubelet.CredentialProviderConfig:
		return ofKubelet(c.Providers), nil
	case *v1alpha1.CredentialProviderConfig:
		var providers []kubelet.CredentialProvider
		for _, p := range c.Providers {
			n := kubelet.CredentialProvider{Name: p.Name, MatchImages: p.MatchImages, DefaultCacheDuration: p.DefaultCacheDuration, APIVersion: p.APIVersion, Args: p.Args}
			for _, e := range p.Env {
				n.Env = append(n.Env, kubelet.ExecEnvVar(e))
			}
			providers = append(providers, n)
		}
		return ofKubelet(providers), nil
	}
	return nil, fmt.Errorf("decoded a %T", obj)
}

// proveConfig holds data, the result of Config for old, against the kubelet's
// codec: the others as they were and in order, mirrorcred's as wanted.
func proveConfig(t *testing.T, old, data []byte, p Provider) {
	t.Helper()
	got, err := decodeAsKubelet(data)
	if err != nil {
		t.Fatalf("the kubelet refuses the result: %v\n%s", err, data)
	}
	isOurs := func(e Provider) bool { return e.Name == p.Name }
	at := slices.IndexFunc(got, isOurs)
	if at < 0 || !reflect.DeepEqual(got[at], p) {
		t.Errorf("Config(%s)\n= %s\nours is not as wanted", old, data)
	}
	if before, err := decodeAsKubelet(old); err == nil {
		was := slices.IndexFunc(before, isOurs)
		if was < 0 && at != len(before) || was >= 0 && at != was {
			t.Errorf("Config(%s)\n= %s\nours has moved", old, data)
		}
		before, got = slices.DeleteFunc(before, isOurs), slices.DeleteFunc(got, isOurs)
		if len(before)+len(got) > 0 && !reflect.DeepEqual(before, got) {
			t.Errorf("Config(%s)\n= %s\nothers changed", old, data)
		}
	}
	again, err := Config(data, only(p))
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("Config of its result = %s, %v; want it unchanged:\n%s", again, err, data)
	}
}

// Each archive has a file "in" and the golden "out" or "err".
func TestConfig(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txtar")
	if len(files) == 0 {
		t.Fatal("no testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := archive.Files[0].Data
			data, err := Config(in, only(ours))
			got := txtar.File{Name: "out", Data: data}
			if err != nil {
				got = txtar.File{Name: "err", Data: []byte(err.Error() + "\n")}
			} else {
				proveConfig(t, in, data, ours)
				proveSecond(t, in, data)
			}
			if *update {
				archive.Files = []txtar.File{archive.Files[0], got}
				if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := archive.Files[1]; want.Name != got.Name || !bytes.Equal(want.Data, got.Data) {
				t.Errorf("Config(%s)\n= %s: %s\nwant %s: %s", in, got.Name, got.Data, want.Name, want.Data)
			}
		})
	}
}

const head = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"

const other = `  - name: "other"
    matchImages: [quay.io]
    defaultCacheDuration: 10m
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`

// What a golden cannot show: line ends, byte order marks, missing ends.
func TestConfigBytes(t *testing.T) {
	full, err := Config(nil, only(ours))
	if err != nil {
		t.Fatal(err)
	}
	proveConfig(t, nil, full, ours)
	dos := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	entry := strings.Join(indent(2, append([]string{marker}, lines(ours)...)), "\n") + "\n"
	for in, want := range map[string]string{
		"":                                       string(full),
		"# mine\n\n---\n":                        "# mine\n\n---\n" + string(full),
		"# no end":                               "# no end\n" + string(full),
		string(full):                             string(full),
		dos(head + "providers:\n" + other):       dos(head + "providers:\n" + other + entry),
		"\ufeff" + head + "providers:\n" + other: "\ufeff" + head + "providers:\n" + other + entry,
		strings.TrimSuffix(head+"providers:\n"+other, "\n"):     head + "providers:\n" + other + entry,
		head + "providers:\n" + other + "---\nsecond: document": head + "providers:\n" + other + entry + "---\nsecond: document",
		head + "providers:\n" + other + "...\n":                 head + "providers:\n" + other + entry + "...\n",
		head + "providers: []   # none yet\n":                   head + "providers:   # none yet\n" + entry,
		head + "providers: null\n":                              head + "providers:\n" + entry,
		head + "providers:":                                     head + "providers:\n" + entry,
		head:                                                    head + "providers:\n" + entry,
		"providers: []\n" + head:                                "providers:\n" + entry + head,
	} {
		got, err := Config([]byte(in), only(ours))
		if err != nil || string(got) != want {
			t.Errorf("Config(%q)\n= %q, %v\nwant %q", in, got, err, want)
			continue
		}
		proveConfig(t, []byte(in), got, ours)
	}
}

// TestLayouts checks that a file which the kubelet's own decoder takes is taken,
// however it is laid out: with mirrorcred's provider in it the others mean the same.
func TestLayouts(t *testing.T) {
	const item = "name: other, matchImages: [quay.io], defaultCacheDuration: 10m, apiVersion: credentialprovider.kubelet.k8s.io/v1"
	const mine = "name: mirror-credential-provider, matchImages: [a.io], defaultCacheDuration: 10m, apiVersion: credentialprovider.kubelet.k8s.io/v1"
	const tokens = "tokenAttributes: &t {serviceAccountTokenAudience: x, cacheType: Token, requireServiceAccount: false}"
	for name, in := range map[string]string{
		"flow list":                    head + "providers: [{" + item + "}]\n",
		"flow list, commented":         head + "providers: [ # why\n  {" + item + "}, # which\n]\n# end\n",
		"flow list and a second file":  head + "providers: [{" + item + "}]\n---\nx: y\n",
		"flow root behind a mark":      "---\n{apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [{" + item + "}]}\n",
		"flow root on the mark":        "--- {apiVersion: kubelet.config.k8s.io/v1, kind: CredentialProviderConfig, providers: [{" + item + "}]}\n",
		"behind a directive":           "%YAML 1.1\n---\n" + head + "providers: [{" + item + "}]\n",
		"flow items":                   head + "providers:\n- {" + item + "}\n",
		"flow items over lines":        head + "providers:\n- {" + strings.ReplaceAll(item, ", ", ",\n   ") + "}\n",
		"ours in flow":                 head + "providers: [{" + mine + "}, {" + item + "}]\n",
		"ours is anchored":             head + "providers:\n- {" + mine + ", args: &a [x]}\n- {" + item + ", args: *a}\n",
		"a merge key":                  head + "providers:\n- {" + item + ", " + tokens + "}\n- {" + strings.Replace(item, "other", "third", 1) + ", tokenAttributes: {<<: *t}}\n",
		"a merge key behind an anchor": head + "providers: &l\n- {" + item + ", " + tokens + "}\n- {" + strings.Replace(item, "other", "third", 1) + ", tokenAttributes: {<<: *t}}\n",
		"a merge key in ours":          head + "providers:\n- {" + mine + ", " + tokens + "}\n- {" + item + ", tokenAttributes: {<<: *t}}\n",
		"a tag":                        head + "providers: !!seq\n- {" + item + "}\n",
		"a tag on flow":                head + "providers: !!seq [{" + item + "}]\n",
		"quoted keys":                  head + "'providers': [{" + item + "}]\n",
		"an explicit key":              head + "? providers\n: [{" + item + "}]\n",
		"values over lines":            head + "providers:\n- name: other\n  matchImages: [quay.io]\n  defaultCacheDuration: 10m\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  env:\n  - name: A\n    value: |\n      # no comment\n      \"x\"\n",
		"values with hashes, anchored": head + "providers: &l\n- name: other\n  matchImages: [quay.io]\n  defaultCacheDuration: 10m\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  args: ['a #b', \"c #d'\"] # say\n",
		"carriage returns":             strings.ReplaceAll(head+"providers: [{"+item+"}]\n", "\n", "\r"),
		"v1alpha1":                     strings.Replace(head, "/v1", "/v1alpha1", 1) + "providers: &l [{" + item + "}]\n",
		"JSON":                         `{"kind":"CredentialProviderConfig","apiVersion":"kubelet.config.k8s.io/v1","providers":[]}`,
		"JSON over lines":              "{\n\"kind\":\"CredentialProviderConfig\",\n\"apiVersion\":\"kubelet.config.k8s.io/v1\"}\n",
	} {
		if _, err := decodeAsKubelet([]byte(in)); err != nil {
			t.Fatalf("%s: the kubelet refuses %q: %v", name, in, err)
		}
		data, err := Config([]byte(in), only(ours))
		if err != nil {
			t.Errorf("%s: Config(%q): %v", name, in, err)
			continue
		}
		proveConfig(t, []byte(in), data, ours)
		proveSecond(t, []byte(in), data)
		for _, comment := range []string{"# why", "# which", "# end", "# say"} {
			if strings.Contains(in, comment) != strings.Contains(string(data), comment) {
				t.Errorf("%s: Config(%q)\n= %s\nthe comment %q is not as it was", name, in, data, comment)
			}
		}
	}
}

// A provider of any bytes comes back as it was, or is refused for what it says.
func FuzzProvider(f *testing.F) {
	f.Add("a\u2028b\x7f: #\"'\\ \u00e9\ufeff", "*.azurecr.io")
	f.Add("yes", "a.io/team")
	f.Add("", "0")
	f.Fuzz(func(t *testing.T, arg, pattern string) {
		p := ours
		p.MatchImages, p.Args = []string{pattern}, []string{arg}
		data, err := Config([]byte(head+"providers:\n"+other), only(p))
		if err != nil {
			_, patternErr := mirror.ParsePattern(pattern)
			if errors.Is(err, errLayout) || check(p) == nil && patternErr == nil {
				t.Fatalf("Config(%q): %v", p.Args, err)
			}
			return
		}
		proveConfig(t, []byte(head+"providers:\n"+other), data, p)
	})
}

// Whatever is there: no panic; what comes out, the kubelet reads, and the
// others are in it as they were. And Config refuses what the kubelet's codec does.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("\ufeff" + head + "providers:\r\n" + other))
	f.Fuzz(func(t *testing.T, old []byte) {
		faults := decode(old).faults
		if _, err := decodeAsKubelet(old); (err == nil) != (faults == nil) && utf8.Valid(old) {
			t.Fatalf("decode(%q) = %v; the kubelet says %v", old, joinFaults("", faults), err)
		}
		data, err := Config(old, only(ours))
		if errors.Is(err, errLayout) {
			t.Fatalf("Config(%q): %v; the kubelet takes it", old, err)
		}
		if err != nil {
			return
		}
		if _, err := Read(File{"f", data}); err != nil {
			t.Fatalf("Read: %v", err)
		}
		proveConfig(t, old, data, ours)
		proveSecond(t, old, data)
	})
}

// proveSecond adds a second provider of mirrorcred's, in any place, and removes
// it again. base is the result of Config for old with one.
func proveSecond(t *testing.T, old, base []byte) {
	t.Helper()
	for _, list := range [][]Provider{{ours, ofPods}, {ofPods, ours}} {
		both, err := Config(old, Desired{Providers: list})
		if err != nil {
			if doc := decode(old); doc.config.APIVersion == versions[0] || !strings.Contains(err.Error(), "tokenAttributes") {
				t.Errorf("Config(%s) with two: %v", old, err)
			}
			continue
		}
		got, err := decodeAsKubelet(both)
		if err != nil {
			t.Fatalf("the kubelet refuses the result: %v\n%s", err, both)
		}
		for _, want := range list {
			i := slices.IndexFunc(got, func(p Provider) bool { return p.Name == want.Name })
			if i < 0 || !reflect.DeepEqual(got[i], want) {
				t.Errorf("Config(%s)\n= %s\n%s is not as wanted", old, both, want.Name)
			}
		}
		again, err := Config(both, Desired{Providers: []Provider{ours}, Stale: func(name string) bool { return name == ofPods.Name }})
		if isJSON(base) { // laid out anew, as soon as it changes
			left, _ := decodeAsKubelet(again)
			want, _ := decodeAsKubelet(base)
			if !reflect.DeepEqual(left, want) {
				t.Errorf("Config without the second = %s, %v; want the meaning of\n%s", again, err, base)
			}
		} else if err != nil || !bytes.Equal(bytes.TrimRight(again, "\r\n"), bytes.TrimRight(base, "\r\n")) { // a last line may have got its end
			t.Errorf("Config without the second = %s, %v; want\n%s", again, err, base)
		}
	}
}
