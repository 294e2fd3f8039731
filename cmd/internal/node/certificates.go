package node

import (
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkCertificates checks the files that ca and client name, as containerd
// opens them at each pull: for each target of each mirror. It also returns the
// client certificates among them.
func (n *Node) checkCertificates(m *mirror.Map) ([][][]tlsfiles.Problem, []tlsfiles.Client) {
	safe := n.newTrust()
	read := func(path string) ([]byte, error) {
		if err := safe.check(path); err != nil {
			return nil, err
		}
		return n.tree.ReadFile(path, 0)
	}
	checker := tlsfiles.New(func(file string) string { return n.path(file) }, read, time.Now())
	list := make([][][]tlsfiles.Problem, len(m.Mirrors))
	for i, one := range m.Mirrors {
		for at, t := range one.Targets {
			if problems := checker.Check(t.Settings); len(problems) > 0 {
				if list[i] == nil {
					list[i] = make([][]tlsfiles.Problem, len(one.Targets))
				}
				list[i][at] = problems
			}
		}
	}
	return list, checker.Clients()
}

// certificateFiles returns the files that ca and client name.
func certificateFiles(s mirror.Settings) []string {
	list := slices.Clone(s.CA)
	for _, pair := range s.Client {
		list = append(list, pair[0])
		if pair[1] != "" {
			list = append(list, pair[1])
		}
	}
	return list
}
