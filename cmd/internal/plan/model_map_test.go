package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// names returns for each source a host of it, its namespace and an image.
func names() (list, namespaces []string, images []mirror.Image) {
	for _, source := range modelSources {
		host := source
		if source == "*" {
			host = "unnamed.example"
		}
		s, err := mirror.ParseSource(source)
		if err != nil {
			panic(err)
		}
		image, err := mirror.ParseImage(host + "/app/image")
		if err != nil {
			panic(err)
		}
		list, namespaces, images = append(list, host), append(namespaces, hosts.Namespace(s)), append(images, image)
	}
	return list, namespaces, images
}

// A modelMap is what a map of the model says: the targets of each source, whether
// they share credentials and whether it waits for the first one, the credentials of
// harbor.corp, the tree, and which registries are delivered by hosts.toml.
type modelMap struct {
	targets [4]int
	share   [4]bool
	ready   [4]bool
	list    int
	tree    int
	deliver [len(deliverable)]bool
}

// shared returns the map with share_credential wherever the parser requires it: the
// source follows a credential that the plugin returns.
func (s modelMap) shared() modelMap {
	for i := range modelSources {
		list := allTargets[s.targets[i]]
		for at, name := range deliverable {
			isNamed := slices.ContainsFunc(list, func(t string) bool { return strings.HasPrefix(t, name) })
			if len(list) > 1 && isNamed && !s.deliver[at] {
				s.share[i] = true
			}
		}
	}
	return s
}

func (s modelMap) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\n[containerd]\nhosts_dir = %q\n", trees[s.tree])
	for i, source := range modelSources {
		if list := strings.Join(allTargets[s.targets[i]], `", "`); list != "" {
			fmt.Fprintf(&b, "[[mirror]]\nsource = %q\ntargets = [\"%s\"]\nshare_credential = %t\n", source, strings.ReplaceAll(list, itsSource, source), s.share[i])
			if s.ready[i] {
				fmt.Fprintf(&b, "ready = %q\n", modelReady)
			}
		}
	}
	for i, name := range deliverable {
		if s.deliver[i] {
			fmt.Fprintf(&b, "[registry.%q]\ncredential = %q\ndeliver = \"hosts\"\n", name, deliveredAs[i])
		} else if deliveredAs[i] != "azure" {
			fmt.Fprintf(&b, "[registry.%q]\ncredential = [\"%s\"]\n", name, strings.Join(modelLists[s.list], `", "`))
		}
	}
	for _, name := range []string{"harbor", "spare"} {
		fmt.Fprintf(&b, "[credential.%s]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/%s.json\"\n", name, name)
	}
	return b.String()
}

// allow notes which credentials may be answered under each file, as "registry
// credential", by each of the lists that had it rendered.
func allow(d Desired) {
	known.mu.Lock()
	defer known.mu.Unlock()
	for at, f := range d.Files {
		if !slices.Contains(modelSources, f.Source.String()) {
			continue // a registry that serves itself
		}
		may, list := mayBeOffered(d.Map.Mirrors[at]), known.allowed[string(f.Data)]
		if !slices.ContainsFunc(list, func(other []string) bool { return slices.Equal(other, may) }) {
			known.allowed[string(f.Data)] = append(list, may)
		}
	}
}

// allowedBy returns what may be answered under a file.
func allowedBy(file string) [][]string {
	known.mu.Lock()
	defer known.mu.Unlock()
	return slices.Clone(known.allowed[file])
}

// mayBeOffered returns the credentials of a mirror in their order.
func mayBeOffered(one mirror.Mirror) []string {
	var may []string
	for _, t := range one.Targets {
		for _, name := range t.CredentialsFor("") {
			if name != mirror.Anonymous {
				may = append(may, t.Host().String()+" "+name)
			}
		}
	}
	return may
}

// modelSources and modelTargets are what the maps of the model are made of; no
// targets stand for no mirror. The first three registries have a credential, of
// which those of harbor.corp never expire.
var (
	modelLists   = [][]string{{"harbor"}, {"harbor", "spare"}, {"spare", "harbor", mirror.Anonymous}}
	modelSources = []string{"mcr.microsoft.com", "docker.io", "quay.io:5000", "*"}
	modelTargets = [][]string{
		nil, {"contoso.azurecr.io"}, {"fabrikam.azurecr.io/hub"}, {"harbor.corp"}, {"mirror.example"}, {"third.example"}, {"mirror.example", "third.example"},
	}
	modelHosts, modelNamespaces, modelImages = names()

	// allTargets are those, and more for lives in which credentials are delivered: with
	// the source behind them.
	allTargets = append(slices.Clone(modelTargets), []string{"contoso.azurecr.io", itsSource}, []string{"harbor.corp", itsSource},
		[]string{"harbor.corp/hub"}, []string{"mirror.example", "harbor.corp", itsSource})
)

// itsSource stands for the source itself in a list of targets.
const itsSource = "(its source)"

// deliverable are the registries with a credential, and deliveredAs what it is.
var (
	deliverable = [...]string{"contoso.azurecr.io", "fabrikam.azurecr.io", "harbor.corp"}
	deliveredAs = [...]string{"azure", "azure", "harbor"}
)
