package plan

import (
	"errors"
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// faults adds to each fault of the kubelet's files the path of its file and the
// consequence: the kubelet does not start with the file, or mirrorcred's providers cannot be
// added to it.
func (c *configuring) faults(err error) error {
	config := c.path(c.Map.Kubelet.Config)
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, one := range joined.Unwrap() {
			list = append(list, c.faults(one))
		}
		return errors.Join(list...)
	}
	var fault *kubeletconfig.Fault
	if !errors.As(err, &fault) {
		return fmt.Errorf("%s: %w", config, err)
	}
	said := *fault
	said.File = config
	if c.seen.Kubelet.Dir && fault.File != "" {
		said.File = path.Join(config, fault.File)
	}
	if !said.Starts {
		if said.Field != "" {
			said.Text = said.Field + ": " + said.Text
		}
		said.Field, said.Text = "", "the kubelet would not start with it: "+said.Text
	}
	return &said
}
