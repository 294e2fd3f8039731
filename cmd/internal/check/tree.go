package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// tree checks every hosts.toml, whichever program wrote it.
func (v *visit) tree(m *mirror.Map) {
	dir := m.Containerd.HostsDir
	entries, err := v.in.ReadDir(v.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := v.in.Lstat(v.at(dir)); err == nil {
			v.add(doctor.CannotApply, v.at(dir), "this symbolic link leads nowhere, so containerd reads no hosts.toml, and none can be written", "create its target, or remove it, and run: mirrorcred apply")
		}
		return
	}
	if err != nil {
		v.missed(v.at(dir), err)
		return
	}
	version, err := hosts.ParseVersion(m.Containerd.Version)
	if err != nil {
		return
	}
	var list []doctor.Namespace
	for _, e := range entries {
		path := v.at(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".mirrorcred-") {
			continue
		}
		switch info, err := v.in.Stat(path); {
		case errors.Is(err, fs.ErrNotExist): // containerd ignores a dangling link
		case errors.Is(err, fs.ErrPermission):
			v.missed(path, err)
		case err != nil:
			list = append(list, doctor.Namespace{Name: e.Name(), Path: path, NoDir: reason(err)})
		case !info.IsDir():
			list = append(list, doctor.Namespace{Name: e.Name(), Path: path, NoDir: "this is not a directory"})
		default:
			list = append(list, v.namespace(path))
		}
	}
	checker := tlsfiles.New(func(file string) string { return v.at(file) }, func(path string) ([]byte, error) { return v.in.ReadFile(path, 0) }, v.now)
	for _, ns := range list {
		v.certificates(ns, version, checker)
	}
	v.found = append(v.found, doctor.Tree(list, version, func(host string) bool {
		s, err := mirror.ParseSource(host)
		if err != nil {
			return false
		}
		_, ok := m.Mirror(s)
		return ok
	})...)
}

func (v *visit) namespace(path string) doctor.Namespace {
	ns := doctor.Namespace{Name: filepath.Base(path), Path: path}
	data, info, err := v.in.Read(filepath.Join(path, hosts.FileName), 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		v.missed(filepath.Join(path, hosts.FileName), err)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		ns.Fault = reason(err)
	default:
		ns.Hosts, ns.Mode = data, info.Mode()
	}
	entries, err := v.in.ReadDir(path)
	if err != nil {
		v.missed(path, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			ns.Files = append(ns.Files, e.Name())
		}
	}
	return ns
}

// reason returns what is wrong with a path, without the path and the remedy.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	text, _ := fault.Split(err.Error())
	return text
}

// certificates checks the files that another program's hosts.toml names: containerd opens
// them at each pull, and the pull fails if it cannot use one. The plan checks those of the
// map.
func (v *visit) certificates(ns doctor.Namespace, version hosts.Version, checker *tlsfiles.Checker) {
	if len(ns.Hosts) == 0 || hosts.OwnerOf(ns.Hosts) == hosts.Ours {
		return
	}
	file := filepath.Join(ns.Path, hosts.FileName)
	host := hosts.HostOf(ns.Name)
	endpoints, err := hosts.Read(ns.Hosts, host, version)
	if err != nil {
		return // the file as a whole is refused
	}
	inside := strings.TrimPrefix(ns.Path, v.root)
	for _, e := range endpoints {
		var s mirror.Settings
		for _, ca := range e.CA {
			s.CA = append(s.CA, from(inside, ca))
		}
		for _, pair := range e.Client {
			s.Client = append(s.Client, [2]string{from(inside, pair[0]), from(inside, pair[1])})
		}
		for _, one := range checker.Check(s) {
			text, _ := fault.Split(one.Text)
			what := "cannot use it, so every pull of " + host + " fails"
			if one.Expired {
				what = "takes it and no registry will, so pulls of " + host + " fail"
			}
			v.add(plan.CertificateFinding(one), file, fmt.Sprintf("%s %s %s; containerd %s", one.Key, one.File, text, what), "put a valid one there, or correct the line")
		}
	}
}

// from returns where a path in a file of a directory leads.
func from(dir, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
