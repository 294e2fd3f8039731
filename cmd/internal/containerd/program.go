package containerd

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
)

// An installation is an installed containerd: a file that is read but never
// run.
type installation struct {
	path    string // on the node
	version string // "" if unknown
	major   string // "1" or "2" by its module's path, "" if unknown
}

// modulePath matches the import paths of containerd.
var modulePath = regexp.MustCompile(`^github\.com/[^/]+/containerd(/v[0-9]+)?$`)

// stamp matches the linker flag that sets the version in a build of containerd.
// A program with other modules in it, such as k3s, has their flags too.
var stamp = regexp.MustCompile(`(?:^|[\s'"])-X[=\s]?\s*['"]?github\.com/[^/\s]+/containerd(?:/v[0-9]+)?/version\.Version=([^\s'"]+)`)

// untagged matches the versions that Go invents for a commit without an earlier
// release.
var untagged = regexp.MustCompile(`^v[0-9]+\.0\.0-[0-9]{14}-`)

// readProgram reads the build information of a program.
func (o Observer) readProgram(name string) (installation, error) {
	p := installation{path: name}
	f, file, err := o.tree().Open(o.path(name))
	o.files.programs[name] = file
	if err != nil {
		return p, err
	}
	defer f.Close()
	info, err := buildinfo.Read(f)
	if err != nil {
		return p, nil // a program without build information, or a script
	}
	p.version, p.major = versionOf(info)
	return p, nil
}

// versionOf returns the version of containerd in a program's build information:
// the linker flag, or else the version of the module. A build with -trimpath
// records no linker flags, and one from an unpacked archive no module version.
func versionOf(info *debug.BuildInfo) (version, major string) {
	for _, s := range info.Settings {
		if s.Key != "-ldflags" {
			continue
		}
		// The linker uses the last of several.
		if all := stamp.FindAllStringSubmatch(s.Value, -1); len(all) > 0 {
			version = all[len(all)-1][1]
		}
	}
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		match := modulePath.FindStringSubmatch(module.Path)
		if match == nil {
			continue
		}
		major = strings.TrimPrefix(match[1], "/v")
		if major == "" {
			major = "1"
		}
		if module.Replace != nil && module.Replace.Version != "" {
			module = module.Replace
		}
		if v := module.Version; version == "" && strings.HasPrefix(v, "v"+major+".") && !untagged.MatchString(v) {
			version = v
		}
		break
	}
	return version, major
}

// programs returns the containerds that the node may start next: the given one
// if it is known, and only those that exist.
func (o Observer) programs(known string) ([]installation, error) {
	paths := installed(o.Wanted.Config)
	if path.IsAbs(known) {
		paths = []string{known}
	}
	var list []installation
	for _, name := range paths {
		p, err := o.readProgram(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// installed returns where a containerd is if no unit names it, judging by its
// configuration file.
func installed(config string) []string {
	for dir, program := range map[string]string{
		"/var/lib/rancher/k3s/":  "/var/lib/rancher/k3s/data/current/bin/containerd",
		"/var/lib/rancher/rke2/": "/var/lib/rancher/rke2/bin/containerd",
		"/var/snap/microk8s/":    "/snap/microk8s/current/bin/containerd",
	} {
		if strings.HasPrefix(config, dir) {
			return []string{program}
		}
	}
	return []string{"/usr/local/bin/containerd", "/usr/bin/containerd", "/opt/bin/containerd"}
}
