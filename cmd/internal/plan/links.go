package plan

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// links returns the share of the executables of the providers that get tokens: links
// to the plugin.
func (ownPlugin) links(c *configuring, wanted []kubeletconfig.Provider) (share, error) {
	var s share
	kept := map[string]bool{}
	for _, one := range wanted {
		if one.Name == PluginName {
			continue
		}
		place := path.Join(c.Map.Kubelet.BinDir, one.Name)
		a, open := c.seen.ask(Question{About: AboutLink, Path: place})
		s.questions = append(s.questions, open...)
		if errors.Is(a.Err, fs.ErrNotExist) {
			s.changes = append(s.changes, Change{Stage: StageRoutes, Path: place, New: []byte(PluginName), Link: true})
		} else if a.Err != nil {
			return s, a.Err
		}
		kept[one.Name] = true
	}
	return s.and(staleLinks(c.seen.Links, c.Map.Kubelet.BinDir, kept)), nil
}

// staleLinks returns the end of the links that no provider needs any more. The
// kubelet's configuration does not name them by then.
func staleLinks(links map[string]bool, binDir string, kept map[string]bool) share {
	var s share
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if !kept[name] {
			s.changes = append(s.changes, Change{Stage: StageForget, Path: path.Join(binDir, name), Old: []byte(PluginName), Link: true})
		}
	}
	return s
}
