package mirror_test

import (
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A map says which registry serves an image, and with which credential.
func ExampleParse() {
	m, err := mirror.Parse("mirrors.toml", []byte(`version = 1

[[mirror]]
source  = "docker.io"
targets = ["contoso.azurecr.io/hub"]
`))
	if err != nil {
		log.Fatal(err)
	}
	image, err := mirror.ParseImage("nginx:1.29")
	if err != nil {
		log.Fatal(err)
	}
	one, ok := m.Resolve(image)
	target := one.Targets[0]
	fmt.Println(ok, target.Host(), target.Repository(image.Repository()), target.Credentials[0])
	// Output: true contoso.azurecr.io hub/library/nginx azure
}

// All faults are reported at once, each with its line and what to write instead.
func ExampleParse_faults() {
	_, err := mirror.Parse("mirrors.toml", []byte(`version = 1

[[mirror]]
source  = "docker.io/library"
targets = ["contoso.azurecr.io"]

[[mirror]]
source  = "quay.io"
targets = []
`))
	fmt.Println(err)
	// Output:
	// mirrors.toml:4: source "docker.io/library": a source has no path, because containerd routes by host alone; write "docker.io"
	// mirrors.toml:9: mirror of "quay.io" has no target; write targets = ["contoso.azurecr.io"]
}

// containerd looks for the directory that an image spells: the host keeps its
// case and its port.
func ExampleParseImage() {
	for _, s := range []string{"nginx", "MCR.microsoft.com/oss/pause:3.10", "registry.k8s.io:443/pause"} {
		image, err := mirror.ParseImage(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(image.Host(), image.Repository())
	}
	// Output:
	// docker.io library/nginx
	// MCR.microsoft.com oss/pause
	// registry.k8s.io:443 pause
}

// The kubelet's patterns are not what they look like.
func ExamplePattern_Matches() {
	for _, s := range []string{"*.azurecr.io", "*.io", "a.azurecr.io/team"} {
		p, err := mirror.ParsePattern(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s, p.Matches("a.azurecr.io/teamx/app"), p.Matches("a.azurecr.io:443/team/app"))
	}
	// Output:
	// *.azurecr.io true false
	// *.io false false
	// a.azurecr.io/team true false
}
