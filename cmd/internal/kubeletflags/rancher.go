package kubeletflags

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// k3s and RKE2 start their kubelet with both flags if a directory and a file exist at
// these paths. Their own flags of the same names set other paths, and kubelet-arg
// overrides those. All of these may be keys of their configuration: a file, and the files
// in the directory beside it, where the last one counts. A list with a key that ends in
// "+" is appended to the list of the earlier files (k3s-io/k3s, pkg/configfilearg).
var rancherPaths = Paths{"/var/lib/rancher/credentialprovider/config.yaml", "/var/lib/rancher/credentialprovider/bin"}

const kubeletArg = "kubelet-arg"

var ranchers = []struct {
	name, etc string
	units     []string
}{
	{"k3s", "/etc/rancher/k3s", []string{"k3s-agent.service", "k3s.service"}},
	{"RKE2", "/etc/rancher/rke2", []string{"rke2-agent.service", "rke2-server.service"}},
}

// A rancher is the kubelet of k3s or RKE2.
type rancher struct {
	name, config string
	own          Paths    // by its own flags
	at           Paths    // the places that set those
	args         []string // by kubelet-arg
	argsAt       string
	argsLine     int
}

func findRancher(files unitfile.Files) (*Kubelet, error) {
	for _, r := range ranchers {
		for _, unit := range r.units {
			c, err := unitfile.ReadCommand(files, unit)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, &Fault{File: unit, Text: "it cannot be read as systemd reads it: " + err.Error(), Repair: "repair that, or run this as root"}
			}
			way := &rancher{name: r.name, config: r.etc + "/config.yaml"}
			if err := way.read(files, unit, c.Argv); err != nil {
				return nil, err
			}
			k := &Kubelet{Layout: r.name, Unit: unit, Now: way.own, InTree: lastOf(way.args, InTreeFlag), way: way}
			by := pathsOf(way.args)
			k.Now.Config = clean(cmp.Or(by.Config, way.own.Config, rancherPaths.Config))
			k.Now.BinDir = clean(cmp.Or(by.BinDir, way.own.BinDir, rancherPaths.BinDir))
			return k, nil
		}
	}
	return nil, nil
}

// read reads the configuration, and then the command line, which overrides it.
func (r *rancher) read(files unitfile.Files, unit string, argv []string) error {
	said := func(name string) (list []string) {
		for i, arg := range argv {
			key, value, hasValue := strings.Cut(arg, "=")
			if key != name {
				continue
			}
			if !hasValue && i+1 < len(argv) {
				value = argv[i+1]
			}
			list = append(list, value)
		}
		return list
	}
	for _, name := range []string{"--config", "-c"} {
		if list := said(name); len(list) > 0 {
			r.config = path.Join("/", list[len(list)-1])
		}
	}
	more, _ := files.Glob(r.config + ".d/*") // a path with a "[" names no directory
	for _, name := range append([]string{r.config}, more...) {
		if ext := path.Ext(name); name != r.config && ext != ".yaml" && ext != ".yml" {
			continue
		}
		data, err := read(files, name)
		if err != nil {
			return err
		}
		if err := r.add(name, data); err != nil {
			return err
		}
	}
	for _, arg := range said("--" + kubeletArg) {
		r.args, r.argsAt, r.argsLine = append(r.args, "--"+strings.TrimPrefix(arg, "--")), unit, 0
	}
	for _, f := range flagsIn(argv) {
		r.say(f.name, f.value, unit)
	}
	return nil
}

// say notes the value of one of its own flags.
func (r *rancher) say(name, value, where string) {
	switch name {
	case ConfigFlag:
		r.own.Config, r.at.Config = value, where
	case BinDirFlag:
		r.own.BinDir, r.at.BinDir = value, where
	}
}

// add reads one file of the configuration, which overrides the files before it.
func (r *rancher) add(name string, data []byte) error {
	var top yaml.Node
	if err := yaml.Unmarshal(data, &top); err != nil {
		return &Fault{File: name, Text: "it is not YAML: " + err.Error(), Repair: "repair it: " + r.name + " does not start with it"}
	}
	if len(top.Content) == 0 || top.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	list := top.Content[0].Content
	for i := 0; i+1 < len(list); i += 2 {
		key, value := list[i], list[i+1]
		base, plus := strings.CutSuffix(key.Value, "+")
		if base != kubeletArg {
			r.say(base, value.Value, name)
			continue
		}
		var args []string
		for _, v := range append([]*yaml.Node{value}, value.Content...) {
			if v.Kind == yaml.ScalarNode {
				args = append(args, "--"+strings.TrimPrefix(v.Value, "--"))
			}
		}
		if plus {
			args = append(slices.Clip(r.args), args...)
		}
		r.args, r.argsAt, r.argsLine = args, name, key.Line
	}
	return nil
}

// fault implements [way].
func (r *rancher) fault(*Kubelet) *Fault {
	by := pathsOf(r.args)
	if (by.Config == "") == (by.BinDir == "") {
		return nil
	}
	return &Fault{File: r.argsAt, Line: r.argsLine, Text: kubeletArg + " has one of " + ConfigFlag + " and " + BinDirFlag + " and not the other", Repair: "take it out, or add the other"}
}

// plan implements [way]: a file that is read last sets the paths.
func (r *rancher) plan(k *Kubelet, o Options) Plan {
	if by := flagsIn(r.args); len(by) > 0 {
		return Plan{Faults: []*Fault{{File: r.argsAt, Line: r.argsLine, Text: fmt.Sprintf("%s has %s=%s, which overrides what mirrorcred could write", kubeletArg, by[0].name, by[0].value), Repair: "take it out there"}}}
	}
	for _, at := range []string{r.at.Config, r.at.BinDir} {
		if at == k.Unit {
			return Plan{Faults: []*Fault{{File: at, Text: "its command has the flags, which count more than what mirrorcred could write", Repair: "take them out there"}}}
		}
	}
	return Plan{Paths: o.Want, Changes: []Change{{
		Path: r.config + ".d/zz-mirrorcred.yaml",
		New:  []byte(header + ConfigFlag + ": " + o.Want.Config + "\n" + BinDirFlag + ": " + o.Want.BinDir + "\n"),
	}}}
}
