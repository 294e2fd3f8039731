package node

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// providersOf returns what is in the kubelet's file, by name.
func providersOf(t *testing.T, n *Node) map[string]kubeletconfig.Provider {
	t.Helper()
	data, err := os.ReadFile(n.path(mirror.DefaultKubeletConfig))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := kubeletconfig.Read(kubeletconfig.File{Name: "config.yaml", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]kubeletconfig.Provider{}
	for _, e := range entries {
		list[e.Name] = e.Provider
	}
	return list
}

// podsMap has a credential of each kind that takes tokens.
const podsMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
[[mirror]]
source = "docker.io"
targets = ["harbor.corp:8443/hub", "docker.io"]
share_credential = true
[[mirror]]
source = "public.ecr.aws"
targets = ["1.dkr.ecr.eu-west-1.amazonaws.com/public"]
[registry."fabrikam.azurecr.io"]
[registry."1.dkr.ecr.eu-west-1.amazonaws.com"]
credential = "ecr"
[registry."harbor.corp:8443"]
credential = "pods"
[credential.pods]
kind = "service-account-token"
username = "token"
audience = "harbor.corp"
[credential.ecr]
kind = "exec"
command = "/usr/libexec/ecr"
audience = "sts.amazonaws.com"
require = true
annotations = ["eks.amazonaws.com/a"]
required_annotations = ["eks.amazonaws.com/role-arn"]
[credential.azure]
kind = "azure"
audience = "api://AzureADTokenExchange"
[kubelet]
match_images = ["*.cloud.corp"]
`

func TestProviders(t *testing.T) {
	n, _ := newNode(t, podsMap)
	todo := apply(t, n)
	if want := []string{"harbor.corp", "sts.amazonaws.com", "api://AzureADTokenExchange"}; !slices.Equal(todo.NewAudiences, want) {
		t.Errorf("new audiences %q; want %q", todo.NewAudiences, want)
	}
	tests := []struct {
		name, audience  string
		match, not      []string
		needs           bool
		must, mayAnnote []string
	}{
		{plan.PluginName, "", []string{"mcr.microsoft.com", "docker.io"}, []string{"public.ecr.aws", "*.azurecr.io", "fabrikam.azurecr.io", "harbor.corp:8443", "*.cloud.corp"}, false, nil, nil},
		{plan.PluginName + "-pods", "harbor.corp", []string{"docker.io", "harbor.corp:8443"}, []string{"mcr.microsoft.com"}, true, nil, nil},
		{plan.PluginName + "-ecr", "sts.amazonaws.com", []string{"public.ecr.aws"}, []string{"docker.io"}, true, []string{"eks.amazonaws.com/role-arn"}, []string{"eks.amazonaws.com/a"}},
		{
			plan.PluginName + "-azure", "api://AzureADTokenExchange", []string{"fabrikam.azurecr.io", "*.azurecr.io", "*.cloud.corp"},
			[]string{"mcr.microsoft.com"}, false, nil, []string{"kubernetes.azure.com/acr-client-id", "kubernetes.azure.com/acr-tenant-id"},
		},
	}
	if again := apply(t, n); len(again.NewAudiences) > 0 {
		t.Errorf("the second run has new audiences: %q", again.NewAudiences)
	}
	got := providersOf(t, n)
	for _, test := range tests {
		p, ok := got[test.name]
		if !ok {
			t.Errorf("there is no provider %s", test.name)
			continue
		}
		delete(got, test.name)
		for _, pattern := range test.match {
			if !slices.Contains(p.MatchImages, pattern) {
				t.Errorf("%s does not match %s", test.name, pattern)
			}
		}
		for _, pattern := range test.not {
			if slices.Contains(p.MatchImages, pattern) {
				t.Errorf("%s matches %s", test.name, pattern)
			}
		}
		if test.audience == "" {
			if p.TokenAttributes != nil {
				t.Errorf("%s is handed tokens", test.name)
			}
			continue
		}
		a := p.TokenAttributes
		if a == nil || a.ServiceAccountTokenAudience != test.audience || a.CacheType != "Token" || *a.RequireServiceAccount != test.needs ||
			!slices.Equal(a.RequiredServiceAccountAnnotationKeys, test.must) || !slices.Equal(a.OptionalServiceAccountAnnotationKeys, test.mayAnnote) {
			t.Errorf("%s has token attributes %+v", test.name, a)
		}
		if to, err := os.Readlink(n.path(mirror.DefaultBinDir, test.name)); err != nil || to != plan.PluginName {
			t.Errorf("%s is not a link to the plugin: %q, %v", test.name, to, err)
		}
	}
	if len(got) > 0 {
		t.Errorf("more providers than those: %v", got)
	}
}

func TestAuditLogArgument(t *testing.T) {
	for value, want := range map[string]string{"": "", "none": "--audit-log=", "journald": "--audit-log=journald", "unixgram:/run/log": "--audit-log=unixgram:/run/log", "/x": "--audit-log=/x"} {
		text := tokenMap
		if value != "" {
			text += "[kubelet]\naudit_log = \"" + value + "\"\n"
		}
		n, _ := newNode(t, text)
		apply(t, n)
		for name, p := range providersOf(t, n) {
			i := slices.IndexFunc(p.Args, func(arg string) bool { return strings.HasPrefix(arg, "--audit-log") })
			if i >= 0 != (want != "") || i >= 0 && p.Args[i] != want {
				t.Errorf("audit_log %q makes the arguments %q of %s; want %q", value, p.Args, name, want)
			}
		}
	}
}

// TestProviderWaits has a kubelet run while a credential comes to take another
// token: its sources wait for the kubelet, and no other does.
func TestProviderWaits(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	apply(t, n)

	todo := applyMap(t, n, tokenMap)
	if got := summary(todo); !strings.Contains(got, "pending docker.io: ") || strings.Contains(got, "mcr.microsoft.com") || !todo.NeedsRestart {
		t.Errorf("with a new provider: %s", got)
	}
	host.startKubelet(theFlags...)
	if got := summary(apply(t, n)); got != "" {
		t.Errorf("after the restart: %s", got)
	}
	if got := summary(applyMap(t, n, otherTokenMap)); !strings.Contains(got, "does not name the token") || strings.Contains(got, "mcr.microsoft.com") {
		t.Errorf("with another audience: %s", got)
	}
	host.startKubelet(theFlags...)
	if got := summary(apply(t, n)); got != "" {
		t.Errorf("after the second restart: %s", got)
	}

	applyMap(t, n, oneMap)
	if _, ok := providersOf(t, n)[plan.PluginName+"-pods"]; ok {
		t.Error("the provider of the credential that is gone stays")
	}
	if _, err := os.Lstat(n.path(mirror.DefaultBinDir, plan.PluginName+"-pods")); err == nil {
		t.Error("its link stays")
	}
	if err := n.RestoreKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkKubeletFile(t, n, "with the previous configuration")
}

// TestProviderRefused has what would keep the kubelet from starting.
func TestProviderRefused(t *testing.T) {
	link := plan.PluginName + "-pods"
	for name, test := range map[string]struct {
		before func(*Node, *fake)
		text   string
		want   string // of the error, "" for none
	}{
		"old kubelet":      {func(_ *Node, h *fake) { h.is = "1.33.9" }, tokenMap, "process 100 is kubelet 1.33.9; update it"},
		"unknown version":  {func(_ *Node, h *fake) { h.is = "" }, tokenMap, `write it under [kubelet], such as version = "1.34"`},
		"said version":     {func(_ *Node, h *fake) { h.is = "" }, tokenMap + "[kubelet]\nversion = \"1.34\"\n", ""},
		"said old version": {func(*Node, *fake) {}, tokenMap + "[kubelet]\nversion = \"1.33\"\n", "mirrors.toml:15: version of [kubelet] says kubelet 1.33; update it"},
		"foreign program": {func(n *Node, _ *fake) {
			write(t, n.path(mirror.DefaultBinDir, link), "#!/bin/sh\n")
		}, tokenMap, link + ": it is something else; remove it"},
		"dead link": {func(n *Node, _ *fake) {
			if err := os.Symlink("nowhere", n.path(mirror.DefaultBinDir, link)); err != nil {
				t.Fatal(err)
			}
		}, tokenMap, "remove it"},
		"hard link": {func(n *Node, _ *fake) {
			if err := os.Link(n.path(mirror.DefaultBinDir, plan.PluginName), n.path(mirror.DefaultBinDir, link)); err != nil {
				t.Fatal(err)
			}
		}, tokenMap, ""},
		"v1beta1": {func(n *Node, _ *fake) {
			write(t, n.path(mirror.DefaultKubeletConfig), "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\nproviders:\n- name: other\n  matchImages: [a.io]\n  defaultCacheDuration: 0s\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n")
		}, tokenMap, `"kubelet.config.k8s.io/v1beta1" knows no tokenAttributes`},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, test.text)
			host.startKubelet(theFlags...)
			test.before(n, host)
			before := tree(t, n.path("/var/lib/kubelet"), true)
			_, err := n.Apply(t.Context())
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Apply: %v; want %q", err, test.want)
			}
			sameTree(t, tree(t, n.path("/var/lib/kubelet"), true), before)
		})
	}
}
