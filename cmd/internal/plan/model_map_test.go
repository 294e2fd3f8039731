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
// they share credentials, and the tree.
type modelMap struct {
	targets [4]int
	share   [4]bool
	tree    int
}

func (s modelMap) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\n[containerd]\nhosts_dir = %q\n", trees[s.tree])
	for i, source := range modelSources {
		if list := modelTargets[s.targets[i]]; list != nil {
			fmt.Fprintf(&b, "[[mirror]]\nsource = %q\ntargets = [\"%s\"]\nshare_credential = %t\n", source, strings.Join(list, `", "`), s.share[i])
		}
	}
	return b.String() + `[registry."harbor.corp"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`
}

// allowed are the credentials that may be answered under each hosts.toml of a
// map of the model, as "registry credential".
var allowed = func() map[string][]string {
	list := map[string][]string{}
	for i := range modelTargets {
		for tree := range trees {
			d := desire(modelMap{targets: [4]int{i, i, i, i}, tree: tree}.text())
			for at, f := range d.Files {
				var may []string
				for _, t := range d.Map.Mirrors[at].Targets {
					for _, name := range t.Credentials {
						if name != mirror.Anonymous {
							may = append(may, t.Host().String()+" "+name)
						}
					}
				}
				list[string(f.Data)] = may
			}
		}
	}
	return list
}()

// modelSources and modelTargets are what the maps of the model are made of; no
// targets stand for no mirror. The first three registries have a credential, of
// which that of harbor.corp never expires.
var (
	modelSources = []string{"mcr.microsoft.com", "docker.io", "quay.io:5000", "*"}
	modelTargets = [][]string{
		nil, {"contoso.azurecr.io"}, {"fabrikam.azurecr.io/hub"}, {"harbor.corp"}, {"mirror.example"}, {"third.example"}, {"mirror.example", "third.example"},
	}
	modelHosts, modelNamespaces, modelImages = names()
)
