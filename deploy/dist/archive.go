package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// writeArchive writes an archive for nodes without a package manager: the programs,
// their completions and manuals, and the documents, below one directory.
func writeArchive(file, dir, arch string, r release, texts texts) error {
	t, err := programsOf(dir, arch)
	if err != nil {
		return err
	}
	top := strings.TrimSuffix(path.Base(file), ".tar.gz")
	all := tree{top: {nil, fs.ModeDir | 0o755}}
	for place, e := range t {
		all[path.Join(top, path.Base(place))] = e
	}
	for shell, data := range texts.completions {
		all[path.Join(top, "completions", name+"."+shell)] = entry{data, 0o644}
	}
	for program, data := range texts.manuals {
		all[path.Join(top, "man", program+".1")] = entry{data, 0o644}
	}
	for at, e := range texts.docs {
		all[path.Join(top, at)] = e
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(writeTar(z, all, r.time), z.Close(), f.Close())
}

// writeTar writes a tree, and the directories that lead to its files, in the order
// of the paths, as root's.
func writeTar(w io.Writer, t tree, at time.Time) error {
	all := tree{}
	for place, e := range t {
		place = strings.TrimPrefix(place, "/")
		all[place] = e
		for dir := path.Dir(place); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = entry{nil, fs.ModeDir | 0o755}
			}
		}
	}
	out := tar.NewWriter(w)
	for _, place := range all.paths() {
		e := all[place]
		h := &tar.Header{Name: place, Typeflag: tar.TypeReg, Mode: int64(e.mode.Perm()), Size: int64(len(e.data)), ModTime: at, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if e.mode&fs.ModeDir != 0 {
			h.Name, h.Typeflag = place+"/", tar.TypeDir
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(e.data); err != nil {
			return err
		}
	}
	return out.Close()
}
