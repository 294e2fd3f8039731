package deliver

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/sources"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A place is a directory with the files that credentials come from.
type place struct {
	t    *testing.T
	root string
}

func (p place) write(name, text string, mode fs.FileMode) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.root, name), []byte(text), mode); err != nil {
		p.t.Fatal(err)
	}
}

func (p place) fetcher() *Fetcher {
	return &Fetcher{Sources: sources.Options{Root: p.root, Tree: input.NewRoot(p.root), ReadConfig: func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(p.root, path)) }}}
}

// wants returns what a map with these targets and this credential wants.
func (p place) wants(credential string, targets ...string) []Want {
	p.t.Helper()
	var b strings.Builder
	b.WriteString("version = 1\n[credential.c]\n" + credential + "\n")
	for i, target := range targets {
		fmt.Fprintf(&b, "[[mirror]]\nsource = \"s%d.example\"\ntargets = [%q]\n[registry.%[2]q]\ncredential = \"c\"\ndeliver = \"hosts\"\n", i, target)
	}
	m, err := mirror.Parse("", []byte(b.String()))
	if err != nil {
		p.t.Fatal(err)
	}
	return Wanted(m, func(path string) (fs.FileInfo, error) { return os.Stat(filepath.Join(p.root, path)) })
}

func header(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

// TestFetchDockerConfig gets an entry, and the end of a password that names one.
func TestFetchDockerConfig(t *testing.T) {
	p := place{t, t.TempDir()}
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	token := part("{}") + "." + part(fmt.Sprintf(`{"exp":%d}`, end.Unix())) + ".s"
	p.write("d.json", `{"auths":{"a.example":{"username":"u","password":"`+canary+`"},"b.example":{"username":"u","password":"`+token+`"},"c.example/hub":{"username":"hub","password":"p"},"d.example":{"username":"x:y","password":"p"}}}`, 0o600)
	for i, test := range []struct {
		target, want string
		until        time.Time
		fault        string
	}{
		{target: "a.example", want: "u:" + canary},
		{target: "b.example", want: "u:" + token, until: end},
		{target: "c.example/hub", want: "hub:p"},
		{target: "c.example/quay", fault: "no entry"},
		{target: "d.example", fault: "colon"},
	} {
		w := p.wants("kind = \"docker-config\"\npath = \"/d.json\"", test.target)[0]
		if w.Stamp == "" || w.Written.IsZero() {
			t.Errorf("%d: the file has no stamp", i)
		}
		got, err := p.fetcher().Fetch(t.Context(), w)
		if test.fault != "" {
			if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v; want %q", test.target, err, test.fault)
			}
			continue
		}
		if err != nil || got.Authorization.Reveal() != header(test.want) || !got.Until.Equal(test.until) || !got.Renew.IsZero() {
			t.Errorf("%s: %q until %s, %v", test.target, got.Authorization.Reveal(), got.Until, err)
		}
	}
}

// TestFetchProvider runs a provider once for all targets of a registry if its answer is
// for the whole registry, and once for each otherwise. Its cacheDuration is not an end.
func TestFetchProvider(t *testing.T) {
	for _, test := range []struct {
		cacheKey, duration string
		runs               int
		renew              time.Duration
	}{
		{"Registry", "2h0m0s", 1, time.Hour},
		{"Global", "0s", 1, 0},
		{"Image", "2h0m0s", 3, time.Hour},
	} {
		p := place{t, t.TempDir()}
		answer := fmt.Sprintf(`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":%q,"cacheDuration":%q,"auth":{"ecr.example":{"username":"AWS","password":%q}}}`, test.cacheKey, test.duration, canary)
		p.write("provider", "#!/bin/sh\ncat >/dev/null\necho run >>"+p.root+"/runs\necho '"+answer+"'\n", 0o755)
		f := p.fetcher()
		var wait sync.WaitGroup
		wants := p.wants("kind = \"exec\"\ncommand = \"/provider\"", "ecr.example/docker", "ecr.example/quay", "ecr.example/k8s")
		for _, w := range wants {
			wait.Go(func() {
				got, err := f.Fetch(t.Context(), w)
				if err != nil || got.Authorization.Reveal() != header("AWS:"+canary) || !got.Until.IsZero() {
					t.Errorf("%s: %v, %v", w.Target, got.Until, err)
				}
				if left := time.Until(got.Renew); test.renew == 0 != got.Renew.IsZero() || test.renew > 0 && (left > test.renew || left < test.renew-time.Minute) {
					t.Errorf("%s: renewed in %s; want %s", test.cacheKey, left, test.renew)
				}
			})
		}
		wait.Wait()
		runs, err := os.ReadFile(filepath.Join(p.root, "runs"))
		if n := strings.Count(string(runs), "run"); err != nil || n != test.runs {
			t.Errorf("%s: the provider ran %d times, %v; want %d", test.cacheKey, n, err, test.runs)
		}
		// The registry may have refused it, so the same answer is not tried again.
		if _, err := f.Fetch(t.Context(), wants[0]); err != nil {
			t.Error(err)
		}
		runs, err = os.ReadFile(filepath.Join(p.root, "runs"))
		if n := strings.Count(string(runs), "run"); err != nil || n != test.runs+1 {
			t.Errorf("%s: the provider ran %d times, %v, for one that asks again; want %d", test.cacheKey, n, err, test.runs+1)
		}
	}
}

// TestFetchServicePrincipal gives a registry of Azure the secret of a service principal,
// and none of another cloud.
func TestFetchServicePrincipal(t *testing.T) {
	p := place{t, t.TempDir()}
	p.write("azure.json", `{"cloud":"AzurePublicCloud","tenantId":"t","aadClientId":"id","aadClientSecret":"`+canary+`"}`, 0o600)
	const azure = "kind = \"azure\"\nconfig = \"/azure.json\""
	got, err := p.fetcher().Fetch(t.Context(), p.wants(azure, "contoso.azurecr.io")[0])
	if err != nil || got.Authorization.Reveal() != header("id:"+canary) || !got.Until.IsZero() {
		t.Errorf("the registry of Azure: %v", err)
	}
	got, err = p.fetcher().Fetch(t.Context(), p.wants(azure, "contoso.azurecr.cn")[0])
	if err == nil || got.Authorization != "" || strings.Contains(err.Error(), canary) {
		t.Errorf("another cloud: %q, %v", got.Authorization.Reveal(), err)
	}
}
