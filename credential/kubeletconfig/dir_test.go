package kubeletconfig

import (
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"time"
)

func TestRead(t *testing.T) {
	entries, err := Read(Files(map[string][]byte{
		"b.yml":       []byte(head + "providers:\n" + other),
		".a.yaml":     []byte(head + "providers: []\n"),
		"c.json":      []byte(`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"CredentialProviderConfig","providers":[{"name":"j","matchImages":["*.io"],"defaultCacheDuration":"1m30s","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","args":["x"]}]}`),
		"d.conf":      []byte("not read"),
		"e.yaml.save": []byte("not read"),
	})...)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].File != "b.yml" || entries[0].Line != 4 || entries[0].Name != "other" || entries[1].File != "c.json" {
		t.Fatalf("Read = %+v", entries)
	}
	if got := entries[1]; got.DefaultCacheDuration.Duration != 90*time.Second || !slices.Equal(got.Args, []string{"x"}) || !slices.Equal(got.MatchImages, []string{"*.io"}) {
		t.Errorf("Read: %+v", got)
	}
}

func TestReadFaults(t *testing.T) {
	for want, files := range map[string][]File{
		"there is no provider":      {{"a", []byte(head + "providers: []\n")}},
		"--image-credential":        nil,
		"a.yaml: the file is not a": {{"a.yaml", nil}},
		"b:4: providers[0].name: \"other\" is a provider in a too":          {{"a", []byte(head + "providers:\n" + other)}, {"b", []byte(head + "providers:\n" + other)}},
		"a:8: providers[1].name: \"other\" is the name of providers[0] too": {{"a", []byte(head + "providers:\n" + other + other)}},
		"the file is not UTF-8": {{"a", []byte("\xff\xfea\x00")}},
	} {
		_, err := Read(files...)
		var fault *Fault
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &fault) {
			t.Errorf("Read(%s) = %v; want %q", files, err, want)
		}
	}
}

func TestDir(t *testing.T) {
	others := []byte(head + "providers:\n" + other)
	name, data, err := new(Reader).Dir(nil, only(ours))
	if err != nil || name != FileName {
		t.Fatalf("Dir = %q, %v", name, err)
	}
	again, err := Config(nil, only(ours))
	if err != nil || string(again) != string(data) {
		t.Errorf("Dir of none = %s; want %s", data, again)
	}
	full := map[string][]byte{"a.yaml": others, FileName: data, "broken.conf": []byte("{")}
	if _, same, err := new(Reader).Dir(full, only(ours)); err != nil || string(same) != string(data) {
		t.Errorf("Dir = %s, %v; want it unchanged", same, err)
	}
	for want, files := range map[string]map[string][]byte{
		"hand.yaml:5: providers[0].name: \"mirror-credential-provider\" is mirrorcred's": {"hand.yaml": data},
		"a.yml:4: providers[0].nam: unknown field":                                       {"a.yml": []byte(strings.Replace(string(others), "name", "nam", 1))},
		"mirrorcred.yaml:4: providers[0].nam: unknown field":                             {FileName: []byte(strings.Replace(string(others), "name", "nam", 1))},
		"\"other\" is a provider in a.yaml too":                                          {FileName: others, "a.yaml": others},
		"a.json: the file begins as JSON":                                                {"a.json": []byte("{")},
	} {
		if _, _, err := new(Reader).Dir(files, only(ours)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dir = %v; want %q", err, want)
		}
	}
}

func TestProviderFaults(t *testing.T) {
	images := []string{"a.io"}
	for want, p := range map[string]Provider{
		`provider "": name: "" cannot name a file`:        {MatchImages: images},
		`provider "a/b": name: "a/b" cannot name a file`:  {Name: "a/b", MatchImages: images},
		`a provider needs at least one pattern`:           {Name: "a"},
		`a pattern has no scheme; write "a.io"`:           {Name: "a", MatchImages: []string{"https://a.io"}},
		`is not text`:                                     {Name: "a", MatchImages: images, Args: []string{"a\x00"}},
		`tokenAttributes.serviceAccountTokenAudience: it`: {Name: "a", MatchImages: images, TokenAttributes: &TokenAttributes{}},
	} {
		if _, err := Config(nil, only(p)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Config(%+v) = %v; want %q", p, err, want)
		}
	}
	if _, err := Config(nil, Desired{}); err == nil {
		t.Error("Config without a provider succeeds")
	}
}

func TestImportsArePure(t *testing.T) {
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			if slices.Contains([]string{`"os"`, `"net/http"`, `"log/slog"`}, imported.Path.Value) {
				t.Errorf("%s imports %s", file, imported.Path.Value)
			}
		}
	}
}
