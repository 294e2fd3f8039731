package config

import (
	"os"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// An opinion is what containerdconfig says.
type opinion struct {
	answer    string
	anyAnswer bool // only armed counts
	armed     bool
	reason    string
}

// opinionOf asks it about the files of a tree.
func opinionOf(files containerdconfig.Files, v containerdconfig.Version) opinion {
	c, err := containerdconfig.Effective(files, Main, v)
	if err != nil {
		return opinion{answer: answer(false, false, ""), reason: err.Error()}
	}
	o := opinion{answer: answer(true, c.NoCRI == nil, c.ConfigPath)}
	if reason := c.NotReading(Dir); reason != nil {
		o.reason = reason.String()
	}
	o.armed = c.Enabled().NotReading(Dir) == nil
	return o
}

// disk is containerdconfig's way to the files below the root directory.
type disk struct{}

func (disk) ReadFile(name string) ([]byte, error)  { return os.ReadFile(name) }
func (disk) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }
