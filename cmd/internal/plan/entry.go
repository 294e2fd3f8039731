package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// tokenProvider returns the name of the provider that gets the pods' tokens for a
// credential. It is separate from the plugin's own provider, so that mirrors without
// tokens do not depend on the node's permission to request them. Its executable is a
// link to the plugin, because the kubelet knows a provider by its name alone.
func tokenProvider(c mirror.Credential) string { return PluginName + "-" + c.Name }

// IsTokenProvider reports whether a provider's name is one that tokenProvider
// returns.
func IsTokenProvider(name string) bool { return strings.HasPrefix(name, PluginName+"-") }

// IsOwn reports whether a provider of that name is mirrorcred's.
func IsOwn(name string) bool { return name == PluginName || IsTokenProvider(name) }

// An Entry is one of mirrorcred's providers in the kubelet's configuration: the part
// that matters for what a kubelet has read.
type Entry struct {
	Name  string   `json:"name"`
	Match []string `json:"match"`
	// Token is a hash of what says which token it is handed, "" for none.
	Token string `json:"token,omitempty"`
	// Mirrors are those that [mirror.Stock] is told, as it is told them.
	Mirrors string `json:"mirrors,omitempty"`
}

func newEntries(list []kubeletconfig.Provider) []Entry {
	var entries []Entry // nil for none
	for _, p := range list {
		entries = append(entries, running(p.Name).entry(p))
	}
	return entries
}

func sameEntries(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(a, b Entry) bool {
		return a.Name == b.Name && a.Token == b.Token && a.Mirrors == b.Mirrors && slices.Equal(a.Match, b.Match)
	})
}

// entries returns mirrorcred's providers in the kubelet's present configuration.
func (o *Observed) entries() []Entry {
	return newEntries(o.Kubelet.ownProviders(o.State.last(mirror.Stock) != nil))
}

// list returns the files in the order of their names.
func (k KubeletFiles) list() []kubeletconfig.File {
	var files []kubeletconfig.File
	for _, name := range slices.Sorted(maps.Keys(k.Files)) {
		files = append(files, kubeletconfig.File{Name: name, Data: k.Files[name]})
	}
	return files
}

// EntriesOf returns mirrorcred's providers in an earlier version of the kubelet's file,
// the plugin's own first. The entry of [mirror.Stock] counts if mirrorcred ever drove it.
func (s State) EntriesOf(file kubeletconfig.File) []Entry {
	files := KubeletFiles{Files: map[string][]byte{file.Name: file.Data}}
	return newEntries(files.ownProviders(s.newest(mirror.Stock) != nil))
}

// ownProviders returns mirrorcred's providers in the files, the plugin's own first, and
// with them [mirror.Stock] if mirrorcred drives it.
func (k KubeletFiles) ownProviders(withStock bool) []kubeletconfig.Provider {
	read, err := k.Reader.Read(k.list()...)
	if err != nil {
		return nil
	}
	var list []kubeletconfig.Provider
	for _, e := range read {
		switch {
		case e.Name == PluginName:
			list = slices.Insert(list, 0, e.Provider)
		case IsTokenProvider(e.Name), withStock && e.Name == mirror.Stock:
			list = append(list, e.Provider)
		}
	}
	return list
}
