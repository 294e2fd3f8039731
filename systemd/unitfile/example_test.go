package unitfile_test

import (
	"fmt"
	"io/fs"
	"log"
	"path"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
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

func (n node) Glob(pattern string) ([]string, error) {
	var found []string
	for name := range n {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			found = append(found, name)
		}
	}
	return found, nil
}

// The flags of a kubelet that kubeadm set up, from the unit and an environment
// file.
func ExampleReadCommand() {
	command, err := unitfile.ReadCommand(node{
		"/usr/lib/systemd/system/kubelet.service":                "[Service]\nExecStart=/usr/bin/kubelet\n",
		"/usr/lib/systemd/system/kubelet.service.d/10-kube.conf": "[Service]\nEnvironmentFile=-/etc/default/kubelet\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n",
		"/etc/default/kubelet":                                   "KUBELET_EXTRA_ARGS=\"--v=2 --node-ip=10.0.0.4\"\n",
	}, "kubelet.service")
	if err != nil {
		log.Fatal(err)
	}
	for _, word := range command.Argv {
		fmt.Println(word)
	}
	// Output:
	// /usr/bin/kubelet
	// --v=2
	// --node-ip=10.0.0.4
}
