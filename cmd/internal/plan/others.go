package plan

import (
	"fmt"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// others remembers other vendors' providers in the kubelet's files, so that a long
// file is not parsed again at each run.
type others struct {
	File string `json:"file,omitempty"` // hash of the kubelet's files
	// Stock says that the entry of [mirror.Stock] counted as mirrorcred's.
	Stock bool              `json:"stock,omitempty"`
	List  []doctor.Provider `json:"list,omitempty"`
}

// nextOthers returns the other vendors' providers in the kubelet's configuration as it
// is after the plan.
func nextOthers(c *configuring, next configuration) others {
	files, hash := c.seen.Kubelet, next.memo.File
	if next.files != nil {
		files.Files = next.files
	}
	if hash == "" {
		hash = HashFiles(files.Files)
	}
	known, isStockOwn := c.seen.State.Others, c.plugin.runs(mirror.Stock)
	if known.File == hash && known.Stock == isStockOwn {
		return known
	}
	return others{hash, isStockOwn, readOthers(c, files)}
}

func readOthers(c *configuring, files KubeletFiles) []doctor.Provider {
	// What keeps the kubelet from starting is a fault, and is reported there.
	read, _ := files.Reader.Read(files.list()...)
	var list []doctor.Provider
	for _, e := range read {
		if IsOwn(e.Name) || c.plugin.runs(e.Name) {
			continue
		}
		where := c.path(c.Map.Kubelet.Config)
		if files.Dir {
			where = filepath.Join(where, e.File)
		}
		if e.Line > 0 {
			where = fmt.Sprintf("%s:%d", where, e.Line)
		}
		list = append(list, doctor.Provider{Name: e.Name, Where: where, Match: e.MatchImages})
	}
	return list
}
