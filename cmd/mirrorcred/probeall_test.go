package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/probe"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
)

// A listener is a registry that wants a password and writes down which it gets.
type listener struct {
	*httptest.Server
	mu   sync.Mutex
	gets []string // the password of each request, "" for none
}

func listen(t *testing.T) *listener {
	l := &listener{}
	l.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		l.mu.Lock()
		l.gets = append(l.gets, password)
		l.mu.Unlock()
		if !ok {
			w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) host() string { return strings.TrimPrefix(l.URL, "https://") }

// TestProbeAsksEachOnce probes two mirrors with three registries between them, one of
// which is a source. Each registry gets its own credential and no other. It is asked
// once for each identity, although it serves several mirrors, its own images among
// them. The source is not asked.
func TestProbeAsksEachOnce(t *testing.T) {
	first, second, source := listen(t), listen(t), listen(t)
	n := &probeNode{T: t, root: t.TempDir()}
	n.write("etc/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: first.Certificate().Raw})))
	n.write("etc/one.json", `{"auths":{"`+first.host()+`":{"auth":"dTpw"}}}`)
	n.write("etc/two.json", `{"auths":{"`+second.host()+`":{"auth":"dTpw"}}}`)
	text := fmt.Sprintf("version = 1\n[[mirror]]\nsource = %q\ntargets = [%q, %q, %q]\nshare_credential = true\n[[mirror]]\nsource = \"other.test\"\ntargets = [%q]\n",
		source.host(), first.host(), second.host(), source.host(), first.host())
	for name, l := range map[string]*listener{"one": first, "two": second} {
		text += fmt.Sprintf("[registry.%q]\nca = \"/etc/ca.pem\"\ncredential = %q\n[credential.%s]\nkind = \"docker-config\"\npath = \"/etc/%s.json\"\n", l.host(), name, name, name)
	}
	text += fmt.Sprintf("[registry.%q]\nca = \"/etc/ca.pem\"\n", source.host())
	n.write("etc/mirrorcred/mirrors.toml", text)
	if err := newRoot(n.root); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, one := range [][2]string{
		{source.host() + "/mirrorcred-probe", "CANARY-1"}, {source.host(), "CANARY-2"}, {"other.test", "CANARY-1"},
		{first.host(), "CANARY-1"}, {second.host(), "CANARY-2"},
	} {
		answers = append(answers, fmt.Sprintf(`"%s":{"username":"u","password":"%s"}`, one[0], one[1]))
	}
	n.write("var/lib/kubelet/credential-provider/mirror-credential-provider",
		"#!/bin/sh\ncat >/dev/null\necho '{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Image\",\"auth\":{"+strings.Join(answers, ",")+"}}'\n")
	var out strings.Builder
	if err := run(t.Context(), []string{"apply", "--root", n.root}, &out); err != nil {
		t.Fatalf("apply: %v\n%s", err, out.String())
	}

	m, place, err := readPlace(n.root, "")
	if err != nil {
		t.Fatal(err)
	}
	p := &probe.Prober{Mirrors: m, Place: place, Runner: provider.Runner{Root: n.root, BinDir: m.Kubelet.BinDir}}
	for _, f := range p.All(t.Context()) {
		if f.Name != doctor.ProbeLimited {
			t.Errorf("found %s", f)
		}
	}
	for _, c := range []struct {
		what string
		*listener
		want []string
	}{
		{"the first registry", first, []string{"", "CANARY-1"}},
		{"the second registry", second, []string{"", "CANARY-2"}},
		{"the source", source, nil},
	} {
		if !slices.Equal(c.gets, c.want) {
			t.Errorf("%s gets requests with the passwords %q; want %q", c.what, c.gets, c.want)
		}
	}
}
