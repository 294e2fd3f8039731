package route_test

import (
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The credential follows the file: it is answered as long as containerd reads
// what was rendered for its registry, to the byte.
func ExampleDecide() {
	m, err := mirror.Parse("mirrors.toml", []byte(`version = 1
[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io/mcr"]
`))
	if err != nil {
		log.Fatal(err)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		log.Fatal(err)
	}
	file := files[0]
	own := &route.Route{
		Source: "mcr.microsoft.com", HostsDir: "/etc/containerd/certs.d",
		Generations: []route.Generation{route.NewGeneration(m, m.Mirrors[0], hosts.Hash(file.Data))},
	}
	image, err := mirror.ParseImage("mcr.microsoft.com/oss/kubernetes/pause")
	if err != nil {
		log.Fatal(err)
	}

	now := route.Observed{Dir: "/etc/containerd/certs.d", Namespace: file.Namespace, Hosts: file.Data}
	offers, err := route.Decide(image, own, nil, now)
	for _, o := range offers {
		fmt.Println(o.Credential.Name, "for", o.Query.Image, err)
	}

	now.Hosts = append(now.Hosts, "# edited\n"...)
	_, err = route.Decide(image, own, nil, now)
	fmt.Println(err)

	// Output:
	// azure for contoso.azurecr.io/mcr/oss/kubernetes/pause <nil>
	// /etc/containerd/certs.d/mcr.microsoft.com/hosts.toml is not as mirrorcred wrote it; restore it with "mirrorcred apply --adopt", or remove "mcr.microsoft.com" from the mirror map
}
