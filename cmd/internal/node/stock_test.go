package node

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The maps of the tests, with acr-credential-provider.
const (
	stocked           = "[kubelet]\nplugin = \"acr-credential-provider\"\n"
	stockMap          = oneMap + stocked
	stockOtherMap     = otherMap + stocked
	stockAnonymousMap = anonymousMap + stocked
	stockEmptyMap     = emptyMap + stocked
	stockMoreMap      = oneMap + "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"fabrikam.azurecr.io/hub\"]\n" + stocked
)

const managed = `{"useManagedIdentityExtension": true}`

// aksFile is what AKS writes for a node with identity bindings.
const aksFile = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: acr-credential-provider
    matchImages:
      - "*.azurecr.io"
      - "*.*.geo.azurecr.io"
      - "*.azurecr.corp"
      - "mcr.microsoft.com"
      - "old.example"
    defaultCacheDuration: "10m"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    env:
      - name: AZURE_ENVIRONMENT_FILEPATH
        value: /etc/kubernetes/azurestackcloud.json
    tokenAttributes:
      serviceAccountTokenAudience: api://AKSIdentityBinding
      requireServiceAccount: false
      cacheType: ServiceAccount
      optionalServiceAccountAnnotationKeys:
        - kubernetes.azure.com/acr-client-id
    args:
      - /etc/kubernetes/azure.json
      - --registry-mirror=mcr.microsoft.com:northwind.azurecr.io/x,old.example:northwind.azurecr.io
      - --ib-sni-name=sni.example
      - --ib-apiserver-ip=api.example
`

// withAKS makes the node one of AKS, whose kubelet runs.
func withAKS(t *testing.T, n *Node, host *fake) {
	write(t, n.path("/etc/kubernetes/azure.json"), managed)
	write(t, n.path(kubeletFile), aksFile)
	host.startKubelet(theFlags...)
}

// withUnmapped makes it one without mirrors.
func withUnmapped(t *testing.T, n *Node, host *fake) {
	withAKS(t, n, host)
	mirrors := "      - --registry-mirror=mcr.microsoft.com:northwind.azurecr.io/x,old.example:northwind.azurecr.io\n"
	write(t, n.path(kubeletFile), strings.Replace(aksFile, mirrors, "", 1))
	host.startKubelet(theFlags...)
}

// stockOf returns the entry of acr-credential-provider.
func stockOf(t testing.TB, data []byte) (kubeletconfig.Provider, bool) {
	t.Helper()
	p, ok, err := new(kubeletconfig.Reader).Find([]kubeletconfig.File{{Name: "config.yaml", Data: data}}, mirror.Stock)
	if err != nil {
		t.Error(err)
	}
	return p, ok
}

// stockAnswer does as acr-credential-provider does with a managed identity, run
// by a kubelet that read data: the registry whose credential the kubelet finds
// for a host, "" for none (kubernetes-sigs/cloud-provider-azure,
// cmd/acr-credential-provider/main.go and azure_credentials.go).
func stockAnswer(t testing.TB, data []byte, host string) string {
	t.Helper()
	p, ok := stockOf(t, data)
	image := host + "/app/image"
	if !ok || !slices.ContainsFunc(p.MatchImages, func(s string) bool { return kubeletMatches(s, image) }) {
		return ""
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	value := flags.StringP("registry-mirror", "r", "", "")
	flags.String("ib-sni-name", "", "")
	flags.String("ib-apiserver-ip", "", "")
	if err := flags.Parse(p.Args); err != nil || flags.NArg() != 1 {
		t.Errorf("acr-credential-provider does not start with %q: %v", p.Args, err)
		return ""
	}
	asked, keys := image, []string{}
	for pair := range strings.SplitSeq(*value, ",") {
		parts := strings.Split(pair, ":")
		if len(parts) != 2 {
			if *value != "" {
				t.Errorf("acr-credential-provider skips %q", pair)
			}
			continue
		}
		if !strings.HasPrefix(image, parts[0]) {
			continue
		}
		if len(keys) > 0 {
			t.Errorf("acr-credential-provider takes one of %q and %q for %s", keys[0], parts[0], image)
		}
		keys, asked = append(keys, parts[0]), strings.Replace(image, parts[0], parts[1], 1)
	}
	name, _, _ := strings.Cut(asked, "/")
	registry, err := mirror.ParseHost(name)
	if _, acr := registry.ACRSuffix(); err != nil || !acr {
		return ""
	}
	if !slices.ContainsFunc(append(keys, name), func(key string) bool { return kubeletMatches(key, image) }) {
		return ""
	}
	return name
}

// checkStockSource is [checkSource] for a map that drives
// acr-credential-provider: what counts is what the kubelet that runs has read.
func checkStockSource(t testing.TB, n *Node, host string, list []rendered, when string) {
	t.Helper()
	kubelet := n.host.(*fake)
	if len(kubelet.run) == 0 {
		return
	}
	file := hostsReadFor(t, n, host)
	i := slices.IndexFunc(list, func(r rendered) bool { return file != "" && r.data == unsealed(file) })
	var allowed []string
	if i >= 0 {
		allowed = list[i].offers
	}
	got := stockAnswer(t, kubelet.read, host)
	if leak := got != "" && !slices.Equal(allowed, []string{got + " azure"}); leak && (got != host || file != "") {
		t.Errorf("%s: %s is offered the credential of %s, where containerd reads\n%q\nand %q may be offered", when, host, got, file, allowed)
	}
	for _, e := range (plan.State{}).EntriesOf(kubeletconfig.File{Name: "f", Data: kubelet.read}) {
		if slices.ContainsFunc(e.Match, func(s string) bool { return kubeletMatches(s, host+"/app/image") }) {
			checkSource(t, n, host, list, when)
			return
		}
	}
	s, err := n.readState()
	if err != nil {
		t.Fatal(err)
	}
	if _, drains := s.Drains[host]; got == "" && len(allowed) > 0 && !drains {
		t.Errorf("%s: %s is routed to %q, and there is no answer", when, host, allowed)
	}
}

// wantMirrors fails unless that is what acr-credential-provider is told.
func wantMirrors(t *testing.T, n *Node, want string) {
	t.Helper()
	data, err := os.ReadFile(n.path(kubeletFile))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := stockOf(t, data)
	got := ""
	for _, arg := range p.Args {
		if pairs, ok := strings.CutPrefix(arg, "--registry-mirror="); ok {
			got = pairs
		}
	}
	if got != want {
		t.Errorf("acr-credential-provider is told %q; want %q", got, want)
	}
}

// TestStock checks the life of a mirror that acr-credential-provider answers for.
func TestStock(t *testing.T) {
	n, host := newNode(t, stockMap)
	host.startKubelet(theFlags...)
	todo := apply(t, n)
	wantLeft(t, todo, `pending mcr.microsoft.com: the kubelet (process 100) started before the mirror at "contoso.azurecr.io" was added to its configuration; stop the kubelet, run this, and start it again`)
	if !todo.NeedsRestart {
		t.Error("the plan does not say that a restart would help")
	}
	wantRouted(t, n, "mcr.microsoft.com", "")
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %d files", len(todo.Changes))
	}
	for _, none := range []string{plan.PluginName, "/routes/"} {
		for path, text := range tree(t, n.path("/var/lib"), false) {
			if strings.Contains(path, none) && !strings.HasSuffix(path, "/credential-provider/"+plan.PluginName) || strings.Contains(text, none) {
				t.Errorf("%s names %s; want nothing of our plugin", path, none)
			}
		}
	}

	// Another prefix at the same registry does not concern the plugin.
	wantLeft(t, applyMap(t, n, strings.Replace(stockMap, "contoso.azurecr.io", "contoso.azurecr.io/mcr", 1)), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io/v2/mcr")

	keeps := `mcr.microsoft.com: acr-credential-provider still returns the credential of "contoso.azurecr.io" for this source until the kubelet (process 100) restarts; stop the kubelet, run this, and start it again`
	wantLeft(t, applyMap(t, n, stockOtherMap), "pending "+keeps)
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	host.after(100 * time.Hour)
	wantLeft(t, apply(t, n), "pending "+keeps)
	host.run = nil // as it is told: stopped, and this run before it starts
	wantLeft(t, apply(t, n), "")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")

	keeps = strings.Replace(keeps, "contoso", "fabrikam", 1)
	wantLeft(t, applyMap(t, n, stockAnonymousMap), "pending "+keeps)
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
	wantLeft(t, applyMap(t, n, stockOtherMap), "")
	todo = applyMap(t, n, stockEmptyMap)
	wantLeft(t, todo, "draining "+keeps)
	if !todo.NeedsRestart {
		t.Error("the plan does not say that a restart would help")
	}
	host.after(100 * time.Hour)
	write(t, n.path("/var/lib/kubelet/image_manager/pulling/other"), `{"image":"quay.io/app"}`)
	wantLeft(t, apply(t, n), "draining "+keeps)
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

// TestStockAnonymous checks that an anonymous mirror waits for no kubelet.
func TestStockAnonymous(t *testing.T) {
	n, host := newNode(t, stockAnonymousMap)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
	if _, err := os.Stat(n.path(kubeletFile)); err == nil {
		t.Error("the kubelet is given a configuration; want none")
	}
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, stockEmptyMap), "draining mcr.microsoft.com: the kubelet (process 100) may have") // it has read nothing from mirrorcred
	host.run = nil
	wantLeft(t, apply(t, n), "")
}

// TestStockAKS drives the entry that AKS wrote: what is not mirrorcred's in it stays.
func TestStockAKS(t *testing.T) {
	n, host := newNode(t, stockMap)
	withAKS(t, n, host)
	before, _ := stockOf(t, []byte(aksFile))
	// It has read AKS's file, which is older than it.
	wantLeft(t, apply(t, n), `pending mcr.microsoft.com: the kubelet (process 100) started before the mirror at "contoso.azurecr.io" was added to its configuration`)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")

	want := before
	want.MatchImages = []string{"*.azurecr.io", "*.*.geo.azurecr.io", "*.azurecr.corp", "mcr.microsoft.com"}
	for _, pattern := range kubeletconfig.ACRHosts() {
		if !slices.Contains(want.MatchImages, pattern) {
			want.MatchImages = append(want.MatchImages, pattern)
		}
	}
	want.Args = slices.Clone(before.Args)
	want.Args[1] = "--registry-mirror=mcr.microsoft.com:contoso.azurecr.io"
	data, err := os.ReadFile(n.path(kubeletFile))
	if got, _ := stockOf(t, data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the entry is %+v, %v; want %+v", got, err, want)
	}

	// With mirrorcred's plugin again, the entry has nothing of mirrorcred's any
	// more.
	wantLeft(t, applyMap(t, n, oneMap), "pending mcr.microsoft.com: active, but the kubelet (process 100) still gets its credential from the previous plugin; restart the kubelet")
	want.MatchImages = slices.DeleteFunc(want.MatchImages, func(s string) bool { return s == "mcr.microsoft.com" })
	want.Args = slices.Delete(want.Args, 1, 2)
	data, err = os.ReadFile(n.path(kubeletFile))
	if got, _ := stockOf(t, data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the entry is %+v, %v; want %+v", got, err, want)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	if todo := apply(t, n); len(todo.Changes) > 0 {
		t.Errorf("the next run changes %d files", len(todo.Changes))
	}
}

// TestStockSwitched goes from mirrorcred's plugin to the other and back, while a kubelet
// runs: each answers until it is the other's turn.
func TestStockSwitched(t *testing.T) {
	n, host := newNode(t, tokenMap)
	in(tokenMap)(t, n, host)
	wantLeft(t, applyMap(t, n, stockMap), "pending mcr.microsoft.com: active, but the kubelet (process 100) still gets its credential from the previous plugin")
	if offers, err := decided(t, n, "mcr.microsoft.com"); err != nil || len(offers) != 1 {
		t.Errorf("the kubelet's plugin answers %v, %v; want one credential", offers, err)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	if _, err := os.Lstat(n.path(plan.RoutesDir, "mcr.microsoft.com.json")); err == nil {
		t.Error("the route stays")
	}
	if _, err := os.Lstat(n.path(mirror.DefaultBinDir, plan.PluginName+"-pods")); err == nil {
		t.Error("the link of a provider stays")
	}
	if got := providersOf(t, n); len(got) != 1 {
		t.Errorf("the kubelet has the providers %v; want one", got)
	}

	wantLeft(t, applyMap(t, n, oneMap), "pending mcr.microsoft.com: active, but the kubelet (process 100) still gets its credential from the previous plugin")
	if got := providersOf(t, n); len(got) != 1 || got[plan.PluginName].Name == "" {
		t.Errorf("the kubelet has the providers %v; want ours alone, since the other was not there before", got)
	}
	// What the running kubelet answers stays true, whatever the map says next.
	keeps := `mcr.microsoft.com: acr-credential-provider still returns the credential of "contoso.azurecr.io" for this source`
	for _, text := range []string{otherMap, anonymousMap, emptyMap + "[registry.\"mcr.microsoft.com\"]\n"} {
		wantLeft(t, applyMap(t, n, text), "pending "+keeps)
		wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
	}
	// So does what it answers for an ACR registry without being told.
	const itself = "[[mirror]]\nsource = \"northwind.azurecr.io\"\ntargets = [\"mirror.example\"]\n"
	if got := summary(applyMap(t, n, oneMap+itself)); !strings.Contains(got, `pending northwind.azurecr.io: acr-credential-provider still returns the credential of "northwind.azurecr.io" for this source`) {
		t.Errorf("an ACR registry's mirror is not pending: %s", got)
	}
	wantRouted(t, n, "northwind.azurecr.io", "")
	applyMap(t, n, emptyMap)
	host.after(100 * time.Hour)
	wantLeft(t, apply(t, n), "draining "+keeps)
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

// TestStockServesACR has a registry that is served as itself, with settings: its
// own credential is what it may have.
func TestStockServesACR(t *testing.T) {
	n, host := newNode(t, stockMap)
	in(stockMap)(t, n, host)
	own := withCA(stockMap, "northwind.azurecr.io")
	write(t, n.path("/etc/ca.pem"), string(tlstest.Files(time.Now())["good.crt"]))
	wantLeft(t, applyMap(t, n, own), "")
	wantRouted(t, n, "northwind.azurecr.io", "/etc/ca.pem")
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	wantLeft(t, applyMap(t, n, stockMap), "")
	wantRouted(t, n, "northwind.azurecr.io", "")
}

// TestStockForeign checks that no mirror is added while another program's hosts.toml
// tells containerd where to go.
func TestStockForeign(t *testing.T) {
	n, host := newNode(t, stockMap)
	file := n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml")
	write(t, file, "server = \"https://elsewhere.example\"\n")
	wantLeft(t, apply(t, n), "left ")
	wantMirrors(t, n, "")
	n.Adopt = true
	wantLeft(t, apply(t, n), "")
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	host.startKubelet(theFlags...)
	n.Adopt = false
	wantLeft(t, apply(t, n), "")
	write(t, file, hostsOf(t, n, "mcr.microsoft.com")+"# mine\n")
	todo := apply(t, n)
	wantLeft(t, todo, "pending mcr.microsoft.com: acr-credential-provider still returns")
	if len(todo.Conflicts) != 1 {
		t.Errorf("the plan leaves %v; want the edited file", todo.Conflicts)
	}
	wantMirrors(t, n, "")

	// What AKS maps under a file of AKS stays until it is taken over.
	n, host = newNode(t, stockMap)
	withAKS(t, n, host)
	write(t, n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"), "server = \"https://northwind.azurecr.io\"\n")
	apply(t, n)
	wantMirrors(t, n, "mcr.microsoft.com:northwind.azurecr.io/x")
}

// TestStockIdentity refuses what the plugin would not answer with.
func TestStockIdentity(t *testing.T) {
	for file, want := range map[string]string{
		`{"aadClientId": "CANARY-id", "aadClientSecret": "CANARY"}`: "acr-credential-provider would silently return no credential for a mirror: ",
		`{"aadClientSecret": CANARY`:                                "azure.json: line 1: this is not JSON",
		managed:                                                     "",
	} {
		n, _ := newNode(t, stockMap)
		write(t, n.path(mirror.DefaultAzureConfig), file)
		_, err := n.Apply(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY")) {
			t.Errorf("with %s: %v; want %q", file, err, want)
		}
		if want == "" {
			continue
		}
		if _, err := os.Stat(n.path(kubeletFile)); err == nil {
			t.Errorf("with %s there is a configuration of the kubelet", file)
		}
		wantLeft(t, applyMap(t, n, stockAnonymousMap), "")
	}
	if os.Getuid() == 0 {
		n, _ := newNode(t, stockMap)
		write(t, n.path(mirror.DefaultAzureConfig), managed)
		if err := os.Chown(n.path(mirror.DefaultAzureConfig), 65534, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "azure.json: it belongs to user 65534") {
			t.Errorf("with another user's file: %v", err)
		}
	}
	n, host := newNode(t, stockMap+"[credential.azure]\nkind = \"azure\"\nconfig = \"/etc/other.json\"\n")
	withAKS(t, n, host)
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "reads /etc/kubernetes/azure.json, but the map has /etc/other.json") {
		t.Errorf("with another file than the entry's: %v", err)
	}
}

// TestStockUnarmed takes the mirrors away if containerd does not read mirrorcred's
// tree, and says which kubelet still has them.
func TestStockUnarmed(t *testing.T) {
	n, host := newNode(t, stockMap)
	in(stockMap)(t, n, host)
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n")
	for _, want := range []string{
		"acr-credential-provider still returns credentials for mirrors until the kubelet (process 100) restarts; restart it",
		"no config_path, also not in its imports",
	} {
		if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Apply: %v; want %q", err, want)
		}
		wantMirrors(t, n, "")
		host.startKubelet(theFlags...)
	}
	if _, err := n.Apply(t.Context()); err == nil || strings.Contains(err.Error(), "kubelet") {
		t.Errorf("after the restart: %v; want nothing of the kubelet", err)
	}
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	wantLeft(t, apply(t, n), "pending mcr.microsoft.com: active, but its pulls have no credential")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
}

// TestStockRestored goes back to a configuration that has other mirrors.
func TestStockRestored(t *testing.T) {
	n, host := newNode(t, stockMap)
	in(stockMap)(t, n, host)
	applyMap(t, n, stockOtherMap)
	if err := n.RestoreKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	host.startKubelet(theFlags...)
	for range 2 {
		todo := apply(t, n)
		wantLeft(t, todo, `pending mcr.microsoft.com: acr-credential-provider still returns the credential of "contoso.azurecr.io" for this source to the kubelet (process 100), which did not start with`)
		wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
		wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
		if todo.NeedsRestart {
			t.Error("the plan wants the kubelet restarted again")
		}
	}
	n.Retry = true
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
}

// TestStockLostState checks that a lost state makes a removal wait for another
// kubelet, and not go on too early.
func TestStockLostState(t *testing.T) {
	n, host := newNode(t, stockMap)
	in(stockMap)(t, n, host)
	applyMap(t, n, stockEmptyMap)
	if err := os.Remove(n.path(stateFile)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 100) may have acr-credential-provider return a credential for it")
	}
	host.startKubelet(theFlags...)
	wantGone(t, n, apply(t, n))
}

// TestStockElsewhere builds an image, where nothing waits.
func TestStockElsewhere(t *testing.T) {
	n, _ := newNode(t, stockMap)
	n.elsewhere = true
	for _, text := range []string{oneMap, stockMap, stockOtherMap, oneMap, stockMap, stockEmptyMap} {
		wantLeft(t, applyMap(t, n, text), "")
	}
	wantRouted(t, n, "mcr.microsoft.com", "")
	if entries, err := os.ReadDir(n.path(plan.RoutesDir)); err != nil || len(entries) > 0 {
		t.Errorf("there are %d routes, %v; want none", len(entries), err)
	}
}

// TestStockHeld checks that a removal which is held takes nothing away.
func TestStockHeld(t *testing.T) {
	n, host := newNode(t, stockMap)
	write(t, n.path(mirror.DefaultAzureConfig), managed)
	in(stockMap)(t, n, host)
	todo := holding(t, n, stockEmptyMap)
	wantLeft(t, todo, "")
	if len(todo.Held) != 1 {
		t.Errorf("the plan holds %v; want one source", todo.Held)
	}
	wantMirrors(t, n, "mcr.microsoft.com:contoso.azurecr.io")
	host.startKubelet(theFlags...)
	wantLeft(t, holding(t, n, stockMap), "")
	wantLeft(t, applyMap(t, n, stockEmptyMap), "draining mcr.microsoft.com: ")
	wantMirrors(t, n, "")
	wantLeft(t, holding(t, n, stockEmptyMap), "draining mcr.microsoft.com: ") // it has begun
}

// TestStockMatched checks that it is not enough that a kubelet runs the plugin
// for a source: its arguments must have the mirror too.
func TestStockMatched(t *testing.T) {
	const match = stocked + "match_images = [\"mcr.microsoft.com\"]\n"
	n, host := newNode(t, emptyMap+match)
	in(emptyMap+match)(t, n, host)
	wantLeft(t, applyMap(t, n, oneMap+match), `pending mcr.microsoft.com: the kubelet (process 100) started before the mirror at "contoso.azurecr.io" was added to its configuration`)
	wantRouted(t, n, "mcr.microsoft.com", "")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
}

// kubeletMatches reports whether the kubelet matches a pattern and an image.
func kubeletMatches(pattern, image string) bool {
	p, err := mirror.KubeletPattern(pattern)
	return err == nil && p.Matches(image)
}
