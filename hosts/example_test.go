package hosts_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Each mirror becomes one file, in the directory that containerd picks for its
// source.
func ExampleRender() {
	m, err := mirror.Parse("mirrors.toml", []byte(`version = 1

[[mirror]]
source  = "registry.corp:5000"
targets = ["contoso.azurecr.io/corp"]
`))
	if err != nil {
		log.Fatal(err)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		// The first line has the hash of the rest, by which Whose knows the file.
		_, rest, _ := strings.Cut(string(f.Data), "\n")
		fmt.Printf("%s/%s\n%s", f.Namespace, hosts.FileName, rest)
	}
	// Output:
	// registry.corp_5000_/hosts.toml
	// server = "https://contoso.azurecr.io/v2/corp"
	// capabilities = ["pull", "resolve"]
	// override_path = true
	//
	// [host]
}

// Without "server", containerd falls back to the source, which few expect.
func ExampleRead() {
	v, err := hosts.ParseVersion("2.2")
	if err != nil {
		log.Fatal(err)
	}
	endpoints, err := hosts.Read([]byte(`[host."https://cache.corp:5000"]
`), "quay.io", v)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range endpoints {
		fmt.Println(e.Host, e.Capabilities, "the source itself:", e.Source)
	}
	// Output:
	// cache.corp:5000 [pull resolve push referrers] the source itself: false
	// quay.io [pull resolve push referrers] the source itself: true
}

// containerd reads the first directory that exists, and no other.
func ExampleCandidates() {
	fmt.Println(hosts.Candidates("registry.corp:5000"))
	fmt.Println(hosts.Candidates("quay.io"))
	// Output:
	// [registry.corp_5000_ registry.corp:5000 _default]
	// [quay.io _default]
}
