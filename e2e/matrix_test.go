package e2e

import (
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A shape is one way to mirror: part of a map, and an image to pull by it.
type shape struct {
	name string // in the table
	// mirror is the part of the map, without its source.
	mirror string
	source string // a host that grants nothing, and must not be asked
	image  string // repository below the source
	// at is the registry that has the image, under the repository
	// repository; "" for image.
	at, repository string
	anonymous      bool // the image is pulled without a credential
	opens          bool // the source takes part: it is a registry that serves
}

// One map holds all shapes at once; the sources keep them apart.
var shapes = []shape{
	{name: "one target", source: "mcr.microsoft.com", image: "one/app", at: contoso,
		mirror: `targets = ["contoso.azurecr.io"]`},
	{name: "first target dead", source: "dead.example.com", image: "dead/app", at: contoso,
		mirror: `targets = ["dead.azurecr.io", "contoso.azurecr.io"]
share_credential = true`},
	{name: "first target closed", source: "closed.example.com", image: "closed/app", at: contoso,
		mirror: `targets = ["closed.azurecr.io", "contoso.azurecr.io"]
share_credential = true`},
	{name: "first target hangs", source: "hangs.example.com", image: "hangs/app", at: contoso,
		mirror: `targets = ["hanging.azurecr.io", "contoso.azurecr.io"]
share_credential = true`},
	{name: "first target forbids", source: "forbids.example.com", image: "forbids/app", at: contoso,
		mirror: `targets = ["forbidden.azurecr.io", "contoso.azurecr.io"]
share_credential = true`},
	{name: "prefix", source: "quay.io", image: "prefix/app", at: contoso, repository: "hub/quay/prefix/app",
		mirror: `targets = ["contoso.azurecr.io/hub/quay"]`},
	{name: "private CA", source: "ca.example.com", image: "ca/app", at: corporate, anonymous: true,
		mirror: `targets = ["harbor.corp:8443"]`},
	{name: "source with a port", source: "registry.corp:5000", image: "port/app", at: contoso,
		mirror: `targets = ["contoso.azurecr.io"]`},
	{name: "`_default`", source: "any.example.org", image: "any/app", at: contoso, repository: "any/any/app",
		mirror: ``},
	{name: "docker.io", source: "docker.io", image: "library/nginx", at: contoso, repository: "dockerhub/library/nginx",
		mirror: `targets = ["contoso.azurecr.io/dockerhub"]`},
	{name: "source last, shared", source: partner, image: "last/app", at: partner, opens: true,
		mirror: `targets = ["contoso.azurecr.io", "partner.azurecr.io"]
share_credential = true`},
	{name: "source last, anonymous", source: open, image: "last/app", at: open, opens: true, anonymous: true,
		mirror: `targets = ["public.azurecr.io", "open.example.com"]`},
	{name: "itself", source: fabrikam, image: "itself/app", at: fabrikam, opens: true, mirror: ``},
}

// shapesMap is the map of all shapes.
func shapesMap() string {
	var b strings.Builder
	b.WriteString(`version = 1

[[mirror]]
source  = "*"
targets = ["contoso.azurecr.io/any"]

[registry."fabrikam.azurecr.io"]
credential = "azure"

[registry."public.azurecr.io"]
credential = "anonymous"

[registry."harbor.corp:8443"]
ca = "/etc/mirrorcred/corporate-ca.pem"
`)
	for _, s := range shapes {
		if s.mirror != "" {
			b.WriteString("\n[[mirror]]\nsource = \"" + s.source + "\"\n" + s.mirror + "\n")
		}
	}
	return b.String()
}

// Every shape of a mirror, with each containerd on its own default path of
// pulling, all by one tree. docs/compatibility.md says what came out.
//
// The containerds run side by side: a target that hangs costs each of them the
// same ten seconds for every request.
func TestTargetShapes(t *testing.T) {
	freshNode(t)
	world.acr[forbidden].Fail("", azuretest.Refuse(403))
	write(t, "/etc/mirrorcred/corporate-ca.pem", world.corporateCA)
	daemons := map[string]*node.Containerd{}
	for i, version := range versions() {
		place := node.Beside(version)
		if i == 0 {
			place = node.Place{} // the one that apply asks
		}
		daemons[version] = startContainerdAt(t, version, node.Config(version, node.HostsDir, pauseImage), place)
	}
	apply(t, shapesMap(), 0)
	results := newTable()
	t.Run("on", func(t *testing.T) {
		for _, version := range versions() {
			for _, s := range shapes {
				t.Run(version+"/"+strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() { results.set(version, s.name, !t.Failed()) })
					s.check(t, daemons[version])
				})
			}
		}
	})
	for _, s := range shapes {
		if !s.opens {
			silent(t, s.source)
		}
	}
	t.Logf("\n%s", results)
	results.hold(t)
}

// check pulls the image of a shape and looks at who was asked. The tag tells
// the containerds apart in the records.
func (s shape) check(t *testing.T, c *node.Containerd) {
	repository := s.repository
	if repository == "" {
		repository = s.image
	}
	// An image that containerd has no part of: it is to ask for each of them.
	if _, err := world.acr[s.at].PushRandom(repository, c.Version); err != nil {
		t.Fatal(err)
	}
	if err := pull(t.Context(), c, s.source+"/"+s.image, c.Version); err != nil {
		t.Error(err)
	}
	if !s.anonymous {
		credited(t, s.at, repository)
	}
}
