package check

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// containerd checks everything in containerd's configuration that affects pulls, except
// config_path and logins, which the plan checks.
func (v *visit) containerd(m *mirror.Map) {
	c := m.Containerd
	versions := containerdconfig.Lines()
	version := versions[len(versions)-1]
	if c.Version != "" {
		var err error
		if version, err = containerdconfig.ParseVersion(c.Version); err != nil {
			return
		}
	}
	config, err := containerdconfig.Effective(files{v}, c.Config, version)
	if err != nil {
		return // the plan says so
	}
	v.imports(c, config)
	v.headers(config)
	v.pauseImage(m, config)
}

// imports reports drop-ins that containerd does not read.
func (v *visit) imports(c mirror.Containerd, config containerdconfig.Config) {
	dir := filepath.Join(filepath.Dir(c.Config), "conf.d")
	names, err := v.in.Glob(v.at(dir, "*.toml"))
	if err != nil {
		return
	}
	for _, name := range names {
		inside := strings.TrimPrefix(name, strings.TrimSuffix(v.root, "/"))
		if !slices.ContainsFunc(config.Read, func(in containerdconfig.Input) bool { return in.Path == inside }) {
			v.add(doctor.ImportNotFollowed, name, fmt.Sprintf("nothing in %s imports this file, so containerd does not read it", v.at(c.Config)),
				fmt.Sprintf("write imports = [\"%s/*.toml\"] at the top of %s, and restart containerd", dir, v.at(c.Config)))
		}
	}
}

// headers reports headers that another table or file overrides.
func (v *visit) headers(config containerdconfig.Config) {
	for _, lost := range config.LostHeaders {
		v.add(doctor.HeadersLost, v.place(lost.At),
			fmt.Sprintf("containerd does not send the header %s with its pulls: another registry table, or a later file, replaces the one with it", lost.Host),
			"set config_path and the headers in one table, and restart containerd")
	}
}

// pauseImage checks the image of a pod's sandbox. containerd pulls it by itself, without
// a credential of the plugin's.
func (v *visit) pauseImage(m *mirror.Map, config containerdconfig.Config) {
	image, err := mirror.ParseImage(config.Sandbox)
	if err != nil {
		return
	}
	one, ok := m.Resolve(image)
	if !ok || slices.ContainsFunc(one.Targets, mirror.Target.IsOpen) {
		return
	}
	if v.isPinned != nil && v.isPinned(config.Sandbox) {
		return
	}
	v.add(doctor.PauseImage, cmp.Or(v.place(config.SandboxSet), v.at(m.Containerd.Config)),
		fmt.Sprintf("containerd pulls the pause image %s without a credential, and its mirror %q asks for one, so no pod starts on a node that does not have the image yet", config.Sandbox, one.Targets[0]),
		"mirrorcred pull --sandbox, before the first pod")
}

// ownImage checks that the node gets mirrorcred's own image without a mirror. The
// chart refuses another one, but the map of a node may not be the chart's.
func (v *visit) ownImage(m *mirror.Map, mapFile string) {
	if v.ownImages == nil {
		return
	}
	for _, name := range v.ownImages() {
		image, err := mirror.ParseImage(name)
		if err != nil {
			continue
		}
		one, ok := m.Resolve(image)
		isOwn := func(t mirror.Target) bool { return t.Host().String() == image.Host() }
		if ok && !slices.ContainsFunc(one.Targets, isOwn) {
			v.add(doctor.OwnImage, mapFile,
				fmt.Sprintf("the pod of mirrorcred has the image %s, which comes through the mirror of %q, so a broken mirror would keep a node from pulling a repaired mirrorcred", name, one.Source),
				"push the image to a registry that the map does not mirror, and set image.repository of the chart to it")
		}
	}
}

// place returns a place in containerd's configuration on this machine.
func (v *visit) place(at containerdconfig.Position) string {
	if at.File == "" {
		return ""
	}
	return place(v.at(at.File), at.Line)
}

// files are the node's files for package containerdconfig.
type files struct{ v *visit }

func (f files) ReadFile(path string) ([]byte, error) { return f.v.in.ReadFile(f.v.at(path), 0) }

func (f files) Glob(pattern string) ([]string, error) {
	names, err := f.v.in.Glob(f.v.at(pattern))
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, strings.TrimSuffix(f.v.root, "/"))
	}
	return names, err
}
