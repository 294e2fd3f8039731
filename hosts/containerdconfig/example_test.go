package containerdconfig_test

import (
	"fmt"
	"io/fs"
	"log"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// node is a node's files by their paths.
type node map[string]string

func (n node) ReadFile(name string) ([]byte, error) {
	data, ok := n[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(data), nil
}

func (n node) Glob(string) ([]string, error) { return nil, nil }

// The same file means different things to different releases: here nothing to
// containerd 1.7, which reads another table.
func ExampleEffective() {
	files := node{"/etc/containerd/config.toml": `version = 2
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
`}
	for _, s := range []string{"1.7", "2.4"} {
		v, err := containerdconfig.ParseVersion(s)
		if err != nil {
			log.Fatal(err)
		}
		c, err := containerdconfig.Effective(files, "/etc/containerd/config.toml", v)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("containerd %s: %q, set on line %d\n", v, c.ConfigPath, c.Set.Line)
		if r := c.NotReading("/etc/containerd/certs.d"); r != nil {
			fmt.Println(r.What)
			fmt.Println(r.Found())
			fmt.Println(r.Repair)
		}
	}
	// Output:
	// containerd 1.7: "", set on line 0
	// containerd 1.7 does not read the table in which config_path is set
	// [plugins."io.containerd.cri.v1.images".registry] is a table of containerd 2, which containerd 1.7 does not read
	// set config_path = "/etc/containerd/certs.d" under [plugins."io.containerd.grpc.v1.cri".registry] in /etc/containerd/config.toml
	// containerd 2.4: "/etc/containerd/certs.d", set on line 3
}
