package check

import (
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// providers checks the patterns of all providers of the kubelet, and returns the
// providers.
func (v *visit) providers(config string) []kubeletconfig.Entry {
	path := v.at(config)
	info, err := v.in.Stat(path)
	if err != nil {
		return nil // the plan says what is missing
	}
	dir := map[string][]byte{}
	if info.IsDir() {
		entries, err := v.in.ReadDir(path)
		if err != nil {
			v.missed(path, err)
			return nil
		}
		for _, e := range entries {
			if data, err := v.in.ReadFile(filepath.Join(path, e.Name()), 0); err == nil && !e.IsDir() {
				dir[e.Name()] = data
			}
		}
	}
	list := kubeletconfig.Files(dir)
	for i := range list {
		list[i].Name = filepath.Join(path, list[i].Name)
	}
	if !info.IsDir() {
		data, err := v.in.ReadFile(path, 0)
		if err != nil {
			v.missed(path, err)
			return nil
		}
		list = []kubeletconfig.File{{Name: path, Data: data}}
	}
	entries, _ := kubeletconfig.Read(list...) // the plan says its faults
	v.found = append(v.found, doctor.Patterns(entries)...)
	return entries
}
