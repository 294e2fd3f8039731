package installer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// put writes the programs and the units. A unit that the operator has edited is
// replaced too: what the installer starts must be what it has brought.
func (i *Installer) put() error {
	if err := i.mounted(dir, "/etc/systemd/system"); err != nil {
		return err
	}
	for _, to := range []string{plugin, manager} {
		data, err := i.program(path.Base(to))
		if err != nil {
			return err
		}
		if err := i.write(to, data, 0o755); err != nil {
			return err
		}
	}
	for _, u := range systemd.InstallerUnits() {
		if err := i.write(u.Path, u.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// program reads a program to install.
func (i *Installer) program(name string) ([]byte, error) {
	for _, dir := range i.Programs {
		data, err := input.ReadFile(filepath.Join(dir, name), mostFile)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, fmt.Errorf("%s is in none of %s; use the image that \"make dist\" makes, or put both programs into one directory", name, strings.Join(i.Programs, ", "))
}

// putSettings writes what the values of the chart say, or removes what earlier ones
// said.
func (i *Installer) putSettings() error {
	var list []byte
	if i.Allowed != "" {
		var err error
		if list, err = read(i.Allowed, "--allowed"); err != nil {
			return err
		}
	}
	if err := i.writeOrRemove(allowed, list); err != nil {
		return err
	}
	var bake, flags []byte
	if i.Bake {
		bake = []byte("[Service]\nExecStartPre=" + manager + " bootstrap bake\n")
	}
	if i.WatchFlags != "" {
		if strings.ContainsAny(i.WatchFlags, "\"'\\%$\n") {
			return fmt.Errorf("flags %q: a unit cannot have them; write them without quotes, \"%%\", \"$\" and \"\\\"", i.WatchFlags)
		}
		flags = []byte("# The installer of the DaemonSet writes this; /etc/default/mirrorcred wins.\n[Service]\nEnvironment=\"MIRRORCRED_FLAGS=" + i.WatchFlags + "\"\n")
	}
	return errors.Join(i.writeOrRemove(bakeConf, bake), i.writeOrRemove(flagsConf, flags))
}

// write puts a file in place, whole or not at all, if it differs.
func (i *Installer) write(name string, data []byte, mode fs.FileMode) error {
	old, err := i.tree.ReadFile(i.at(name), mostFile)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if i.DryRun {
		return i.would("write %s", i.at(name))
	}
	if err := i.tree.MkdirAll(path.Dir(i.at(name)), 0o755); err != nil {
		return err
	}
	return i.node.Install(name, data, mode)
}

// writeOrRemove writes a file, or removes it if there is nothing to write.
func (i *Installer) writeOrRemove(name string, data []byte) error {
	if data != nil {
		return i.write(name, data, 0o644)
	}
	if i.DryRun {
		if _, err := i.tree.Lstat(i.at(name)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return i.would("remove %s", i.at(name))
	}
	err := i.tree.Remove(i.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// would prints what a run would do that is not a dry one.
func (i *Installer) would(format string, args ...any) error {
	_, err := fmt.Fprintf(i.Out, "would "+format+"\n", args...)
	return err
}
