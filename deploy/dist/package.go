package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // a format of nfpm.Get
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // a format of nfpm.Get
)

const description = `One map for containerd's mirrors and the kubelet's credentials.
mirrorcred writes containerd's hosts.toml files and the kubelet's credential
provider configuration from one map of registry mirrors. Its plugin returns a
mirror's credential only while containerd reads exactly what was written.`

// writePackage writes a Debian or an RPM package. It has no configuration file: the
// map is the operator's, so an upgrade has nothing to ask.
func writePackage(repo, dir, format, arch string, r release, texts texts) (err error) {
	contents, err := install(dir, format, arch, texts)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "dist-"+format+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	info := &nfpm.Info{
		Name: name, Arch: arch, Platform: "linux", Version: r.packaged, VersionSchema: "none",
		Section: "admin", Priority: "optional", Maintainer: "The mirrorcred authors <mirrorcred@users.noreply.github.com>",
		Description: description, Homepage: "https://" + module, License: "Apache-2.0", DisableGlobbing: true, MTime: r.time,
	}
	if info.Contents, err = listed(work, contents, r); err != nil {
		return err
	}
	scripts := filepath.Join(repo, "deploy", "packages", format)
	info.Scripts = nfpm.Scripts{
		PostInstall: filepath.Join(scripts, "postinstall.sh"),
		PreRemove:   filepath.Join(scripts, "preremove.sh"),
		PostRemove:  filepath.Join(scripts, "postremove.sh"),
	}
	// Not xz, which takes ten times as long and saves a twentieth.
	info.Deb.Compression, info.RPM.Compression = "none", "zstd:best" // see writeDeb
	info.RPM.BuildHost = "localhost"
	if format == "rpm" {
		info.Release = "1"
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	f, err := os.OpenFile(filepath.Join(dir, packager.ConventionalFileName(info)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if format != "deb" {
		return errors.Join(packager.Package(info, f), f.Close())
	}
	var plain bytes.Buffer
	err = packager.Package(info, &plain)
	if err == nil {
		err = writeDeb(f, &plain)
	}
	return errors.Join(err, f.Close())
}

// listed writes files below work, and returns them as nfpm takes them.
func listed(work string, contents tree, r release) (files.Contents, error) {
	var list files.Contents
	for _, place := range contents.paths() {
		e := contents[place]
		c := &files.Content{
			Destination: place, Type: files.TypeFile,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: e.mode.Perm(), MTime: r.time},
		}
		if e.mode&fs.ModeDir != 0 {
			c.Type = files.TypeDir
		} else {
			c.Source = filepath.Join(work, path.Base(place)+"."+sum([]byte(place))[:8])
			if err := os.WriteFile(c.Source, e.data, e.mode); err != nil {
				return nil, err
			}
		}
		list = append(list, c)
	}
	return list, nil
}
