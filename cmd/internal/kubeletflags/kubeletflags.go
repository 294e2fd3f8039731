// Package kubeletflags knows how each kind of node gives its kubelet the two flags of the
// credential providers, and how to change them permanently: in which file, in which
// variable, and which program rewrites that file.
//
// It is pure: the caller gives it access to the node's files, and it returns changes of
// them. Package unitfile knows how systemd reads a unit, and package kubelet which
// kubelets run. Start at [Find] and [Kubelet.Plan].
package kubeletflags

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// The flags, without their dashes. InTreeFlag belongs to the credential provider that
// was part of the kubelet before 1.30.
const (
	ConfigFlag = "image-credential-provider-config"
	BinDirFlag = "image-credential-provider-bin-dir"
	InTreeFlag = "azure-container-registry-config"
)

// Paths are the values of the two flags, "" for a flag that is not given.
type Paths struct{ Config, BinDir string }

// A Fault says why the flags cannot be read or changed, and what to do.
type Fault struct {
	File         string // on the node, "" if it is not about a file
	Line         int    // 0 if it is not about one line
	Text, Repair string
}

// Error returns all of it in one line.
func (f *Fault) Error() string {
	where := f.File
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if where != "" {
		where += ": "
	}
	return where + f.Text + "; " + f.Repair
}

// A Change is one file that must have other bytes.
type Change struct {
	Path string
	// Old is what is there, nil if nothing is; New is what must be there.
	Old, New []byte
	// Added says that the change adds the two flags and nothing else, so that [Remove]
	// can remove them later, whatever else the file has by then.
	Added bool
}

// A Kubelet is a node's kubelet, with the origin of its flags.
type Kubelet struct {
	// Layout names the kind of node, such as "kubeadm" or "AKS".
	Layout string
	// Unit is the systemd unit that runs the kubelet.
	Unit string
	// Program is the path of the kubelet's program, "" if it is part of another
	// program or a wrapper starts it.
	Program string
	// Now are the present values of the flags, with the paths cleaned. k3s and RKE2 set
	// them by themselves.
	Now Paths
	// InTree is the file that [InTreeFlag] names, "" if it is not given.
	InTree string
	// Argv is the kubelet's whole command line, nil if another program makes it.
	Argv []string

	way way
}

// A way is how one kind of node sets the flags.
type way interface {
	// plan plans for the paths in o, which the kubelet does not have now.
	plan(k *Kubelet, o Options) Plan
	// fault returns a fault in the present flags, nil if there is none.
	fault(k *Kubelet) *Fault
}

// Find finds the kubelet of a node by its files. The error is a [*Fault].
func Find(files unitfile.Files) (*Kubelet, error) {
	if f := closed(files); f != nil {
		return nil, f
	}
	for _, find := range []func(unitfile.Files) (*Kubelet, error){findService, findRancher, findMicroK8s} {
		if k, err := find(files); err != nil || k != nil {
			return k, err
		}
	}
	return nil, &Fault{
		Text:   "no kubelet was found: there is no kubelet.service, or it is masked, no unit of k3s or RKE2, and no MicroK8s",
		Repair: "install the kubelet first, or run \"mirrorcred bootstrap bake\" for the half that needs none",
	}
}

// closed returns the fault of a node whose files no program may change.
func closed(files unitfile.Files) *Fault {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := files.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			id, ok := strings.CutPrefix(strings.TrimSpace(line), "ID=")
			switch strings.Trim(id, `"'`) {
			case "talos":
				return &Fault{name, 0, "this is Talos, where no file can be changed",
					"set machine.kubelet.credentialProviderConfig and machine.registries in the machine configuration"}
			case "bottlerocket":
				return &Fault{name, 0, "this is Bottlerocket, where no file can be changed",
					"set settings.kubernetes.credential-providers and settings.container-registry by its API"}
			}
			if ok {
				return nil
			}
		}
	}
	return nil
}

// read returns what is in a file, nil if it is not there.
func read(files unitfile.Files, name string) ([]byte, error) {
	data, err := files.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, &Fault{File: name, Text: "it cannot be read: " + err.Error(), Repair: "repair that, or run this as root"}
	case data == nil:
		data = []byte{}
	}
	return data, nil
}

// clean is [path.Clean] for a value that may be missing.
func clean(value string) string {
	if value == "" {
		return ""
	}
	return path.Clean(value)
}
