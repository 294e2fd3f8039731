package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// faults returns the faults of the kubelet's files as those of the node, with the path
// of the file: the kubelet does not start with it, or our providers cannot be added to
// it.
func (c *configuring) faults(err error) error {
	config := c.path(c.Map.Kubelet.Config)
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, one := range joined.Unwrap() {
			list = append(list, c.faults(one))
		}
		return errors.Join(list...)
	}
	var one *kubeletconfig.Fault
	if !errors.As(err, &one) {
		return fmt.Errorf("%s: %w", config, err)
	}
	f := &fault.Fault{Name: cmp.Or(one.Name, doctor.ConfigRefused), Where: config, Found: one.Text, Fix: one.Fix, Until: NotApplied, Cause: err}
	if f.What = "the kubelet would not start with its credential provider configuration"; one.Starts {
		f.What = "mirrorcred cannot add its provider to the kubelet's configuration"
	}
	if c.seen.Kubelet.Dir && one.File != "" {
		f.Where = path.Join(config, one.File)
	}
	if one.Line > 0 {
		f.Where = fmt.Sprintf("%s:%d", f.Where, one.Line)
	}
	if one.Field != "" {
		f.Found = one.Field + ": " + f.Found
	}
	return f
}
