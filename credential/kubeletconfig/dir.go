package kubeletconfig

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	kubelet "k8s.io/kubelet/config/v1"
)

// FileName is the file that [Dir] writes.
const FileName = "mirrorcred.yaml"

// A File is a file of the kubelet's configuration. Its name is for messages
// and, in a directory, for the order.
type File struct {
	Name string
	Data []byte
}

// Files returns those files of a directory, given by name, that the kubelet
// reads, in its order: names that end in .json, .yaml or .yml, hidden ones
// too, sorted (Kubernetes v1.37.0, pkg/credentialprovider/plugin/config.go,
// readCredentialProviderConfig; directories from 1.34).
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

// An Entry is a provider as the kubelet reads it, and where it stands.
type Entry struct {
	File string
	Line int // 0 where it is not known
	kubelet.CredentialProvider
}

// Read returns the providers of files, in the kubelet's order. One file stands
// for a configuration that is a file, and may have any name; see [Files] for a
// directory. The error holds, each as a [*Fault], what would keep a kubelet of
// version 1.34 or later from starting, except what bytes cannot show: a
// missing executable, a feature gate that is off
// (pkg/credentialprovider/plugin/config.go).
func Read(files ...File) ([]Entry, error) {
	var entries []Entry
	var errs []error
	seen := map[string]int{} // a provider's name, and its file
	for n, file := range files {
		doc, faults := decode(file.Data)
		faults = append(faults, doc.validate()...)
		for i, p := range doc.config.Providers {
			field := fmt.Sprintf("providers[%d]", i)
			if first, ok := seen[p.Name]; ok && first != n {
				faults = append(faults, &Fault{Line: doc.line(field), Field: field + ".name", Text: fmt.Sprintf("%q is a provider in %s too; take one out", p.Name, files[first].Name)})
			}
			seen[p.Name] = n
			entries = append(entries, Entry{file.Name, doc.line(field), p})
		}
		if len(faults) > 0 {
			errs = append(errs, joinFaults(file.Name, faults))
		}
	}
	if len(entries) == 0 && errs == nil {
		errs = append(errs, &Fault{Text: "there is no provider, and the kubelet does not start without one; write one, or take its flags --image-credential-provider-config and --image-credential-provider-bin-dir away"})
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return entries, nil
}

// Find returns the provider of a name among files, as the kubelet reads it, and
// false where there is none. The error holds the faults of a file that has it.
func Find(files []File, name string) (Provider, bool, error) {
	for _, file := range files {
		doc, faults := decode(file.Data)
		for _, p := range doc.config.Providers {
			if p.Name == name {
				return p, true, joinFaults(file.Name, append(faults, doc.validate()...))
			}
		}
	}
	return Provider{}, false, nil
}

// Dir is [Config] for a directory of files, which kubelets read from 1.34 on.
// Given its files by name it returns the name of the file to write, always
// [FileName], and its bytes. A provider of ours in another file is an error,
// since the kubelet refuses the second, and so is any fault in one.
func Dir(files map[string][]byte, ours Ours) (name string, data []byte, err error) {
	if ours, err = ours.checked(); err != nil {
		return "", nil, err
	}
	for _, file := range Files(files) {
		if file.Name == FileName {
			continue
		}
		doc, _ := decode(file.Data)
		for i, other := range doc.config.Providers {
			text := ""
			switch {
			case ours.owns(other.Name):
				text = fmt.Sprintf("%q is mirrorcred's, and the kubelet refuses a second; take this one out, and %s will have it", other.Name, FileName)
			case has(ours.Shared, other.Name):
				text = fmt.Sprintf("%q is to be changed, and of these files mirrorcred writes %s alone; move the entry there", other.Name, FileName)
			default:
				continue
			}
			return "", nil, &Fault{file.Name, doc.line(fmt.Sprintf("providers[%d]", i)), fmt.Sprintf("providers[%d].name", i), text}
		}
	}
	data, err = config(FileName, files[FileName], ours)
	if err != nil {
		return "", nil, err
	}
	after := maps.Clone(files)
	if after == nil {
		after = map[string][]byte{}
	}
	after[FileName] = data
	if _, err := Read(Files(after)...); err != nil {
		return "", nil, err
	}
	return FileName, data, nil
}
