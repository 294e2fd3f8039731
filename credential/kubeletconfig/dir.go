package kubeletconfig

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// FileName is the file that [Reader.Dir] writes.
const FileName = "mirrorcred.yaml"

// A File is a file of the kubelet's configuration. Name is for messages and, in
// a directory, for the order.
type File struct {
	Name string
	Data []byte
}

// Files returns the files of a directory that the kubelet reads, in its order:
// names that end in .json, .yaml or .yml, hidden ones too, sorted (Kubernetes
// v1.37.0, pkg/credentialprovider/plugin/config.go,
// readCredentialProviderConfig; directories from 1.34). dir are the files by
// name.
func Files(dir map[string][]byte) []File {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(dir)) {
		switch path.Ext(name) {
		case ".json", ".yaml", ".yml":
			files = append(files, File{name, dir[name]})
		}
	}
	return files
}

// An Entry is a provider as the kubelet reads it, and its place.
type Entry struct {
	File string
	Line int // 0 if it is not known
	Provider
}

// Routes returns the directory of routes that mirrorcred's plugin uses as this
// provider, "" if the provider is another program or has no such argument.
func (e Entry) Routes() string {
	for _, arg := range e.Args {
		if dir, ok := strings.CutPrefix(arg, "--registry-mirror=@"); ok {
			return dir
		}
	}
	return ""
}

// Read returns the providers in files, in the kubelet's order. If the
// configuration is one file, pass that, under any name; if it is a directory,
// pass the result of [Files]. The error holds everything, each as a *[Fault],
// that would keep a kubelet of version 1.34 or later from starting, except what
// the files do not show: a missing executable, or a feature gate that is off
// (pkg/credentialprovider/plugin/config.go).
func Read(files ...File) ([]Entry, error) { return new(Reader).Read(files...) }

// Read is the function [Read], with what the Reader remembers.
func (r *Reader) Read(files ...File) ([]Entry, error) {
	var entries []Entry
	var errs []error
	seen := map[string]int{} // a provider's name, and its file
	for n, file := range files {
		doc, faults := r.decode(file.Data)
		faults = append(faults, doc.invalid()...)
		for i, p := range doc.config.Providers {
			field := fmt.Sprintf("providers[%d]", i)
			if first, ok := seen[p.Name]; ok && first != n {
				faults = append(faults, &Fault{Name: NameTwice, Line: doc.line(field), Field: field + ".name", Text: fmt.Sprintf("%q is a provider in %s too", p.Name, files[first].Name), Fix: "take one out"})
			}
			seen[p.Name] = n
			entries = append(entries, Entry{file.Name, doc.line(field), p})
		}
		if len(faults) > 0 {
			errs = append(errs, joinFaults(file.Name, faults))
		}
	}
	if len(entries) == 0 && errs == nil {
		errs = append(errs, &Fault{Text: "there is no provider, and the kubelet does not start without one", Fix: "write one, or take its flags --image-credential-provider-config and --image-credential-provider-bin-dir away"})
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return entries, nil
}

// Find returns the provider of a name in files as the kubelet reads it, and
// false if there is none. The error holds the faults of the file that it is in.
func (r *Reader) Find(files []File, name string) (Provider, bool, error) {
	for _, file := range files {
		doc, faults := r.decode(file.Data)
		for _, p := range doc.config.Providers {
			if p.Name == name {
				return p, true, joinFaults(file.Name, append(faults, doc.invalid()...))
			}
		}
	}
	return Provider{}, false, nil
}

// Dir is [Config] for a directory of files, which kubelets from 1.34 on can
// read. files are the files of the directory by name. Dir returns the name of
// the file to write, always [FileName], and its bytes. A fault in any of the
// files is an error. So is an entry of mirrorcred's in another file, because
// the kubelet rejects a second one.
func (r *Reader) Dir(files map[string][]byte, desired Desired) (name string, data []byte, err error) {
	desired.reader = r
	if desired, err = desired.checked(); err != nil {
		return "", nil, err
	}
	for _, file := range Files(files) {
		if file.Name == FileName {
			continue
		}
		doc, _ := r.decode(file.Data)
		for i, other := range doc.config.Providers {
			text, fix := "", ""
			switch {
			case desired.owns(other.Name):
				text, fix = fmt.Sprintf("%q is mirrorcred's, and the kubelet refuses a second", other.Name), fmt.Sprintf("take this one out, and %s will have it", FileName)
			case has(desired.Shared, other.Name):
				text, fix = fmt.Sprintf("%q must change, but of these files mirrorcred writes only %s", other.Name, FileName), "move the entry there"
			default:
				continue
			}
			field := fmt.Sprintf("providers[%d]", i)
			return "", nil, &Fault{File: file.Name, Line: doc.line(field), Field: field + ".name", Text: text, Fix: fix, Starts: true}
		}
	}
	data, err = config(FileName, files[FileName], desired)
	if err != nil {
		return "", nil, err
	}
	after := maps.Clone(files)
	if after == nil {
		after = map[string][]byte{}
	}
	after[FileName] = data
	if _, err := r.Read(Files(after)...); err != nil {
		return "", nil, err
	}
	return FileName, data, nil
}
