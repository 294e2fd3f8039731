package plan

import (
	"fmt"
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
// harbor.corp, and the tree.
type modelMap struct {
	targets [4]int
	share   [4]bool
	ready   [4]bool
	list    int
	tree    int
}

func (s modelMap) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\n[containerd]\nhosts_dir = %q\n", trees[s.tree])
	for i, source := range modelSources {
		if list := modelTargets[s.targets[i]]; list != nil {
			fmt.Fprintf(&b, "[[mirror]]\nsource = %q\ntargets = [\"%s\"]\nshare_credential = %t\n", source, strings.Join(list, `", "`), s.share[i])
			if s.ready[i] {
				fmt.Fprintf(&b, "ready = %q\n", modelReady)
			}
		}
	}
	fmt.Fprintf(&b, "[registry.\"harbor.corp\"]\ncredential = [\"%s\"]\n", strings.Join(modelLists[s.list], `", "`))
	for _, name := range []string{"harbor", "spare"} {
		fmt.Fprintf(&b, "[credential.%s]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/%s.json\"\n", name, name)
	}
	return b.String()
}

// allowed are the credentials that may be answered under each hosts.toml of a
// map of the model, as "registry credential", by each of [modelLists].
var allowed = func() map[string][][]string {
	list := map[string][][]string{}
	for i := range modelTargets {
		for tree := range trees {
			for l := range modelLists {
				d := desire(modelMap{targets: [4]int{i, i, i, i}, tree: tree, list: l}.text())
				for at, f := range d.Files {
					list[string(f.Data)] = append(list[string(f.Data)], mayBeOffered(d.Map.Mirrors[at]))
				}
			}
		}
	}
	return list
}()

// mayBeOffered returns the credentials of a mirror in their order.
func mayBeOffered(one mirror.Mirror) []string {
	var may []string
	for _, t := range one.Targets {
		for _, name := range t.Credentials {
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
)
