package layouts

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts/containerd"
)

//go:embed nodes.txt
var table string

// A Node is a whole node: a kubelet's layout and a containerd's.
type Node struct {
	Name    string
	Kubelet string // a name of [Names]
	// Containerd is the other half, and Version its version, such as "2.2"; "" if
	// that is not known.
	Containerd containerd.Layout
	Version    string
	Adopt      bool // the phases run with --adopt
	Bake, Join Outcome
}

// An Outcome is what a phase does to the files that are not mirrorcred's own.
type Outcome struct {
	// Writes are the files that it changes or creates.
	Writes []string
	// Refused are words of the refusal, nil if it is not refused. It begins with the
	// first of them.
	Refused []string
}

// Nodes returns the nodes of nodes.txt.
func Nodes() ([]Node, error) {
	halves, err := containerd.All()
	if err != nil {
		return nil, err
	}
	byName := map[string]containerd.Layout{}
	for _, l := range halves {
		byName[l.Name] = l
	}
	var all []Node
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 7 {
			return nil, fmt.Errorf("nodes.txt: %q has %d cells; want 7", line, len(cells))
		}
		half, ok := byName[cells[2]]
		if !ok {
			return nil, fmt.Errorf("nodes.txt: %q: there is no containerd %q", line, cells[2])
		}
		all = append(all, Node{
			Name: cells[0], Kubelet: cells[1], Containerd: half, Version: cells[3],
			Adopt: cells[4] == "--adopt", Bake: outcome(cells[5]), Join: outcome(cells[6]),
		})
	}
	return all, nil
}

func outcome(cell string) Outcome {
	if words, ok := strings.CutPrefix(cell, "refused "); ok {
		return Outcome{Refused: strings.Fields(words)}
	}
	if cell == "-" {
		return Outcome{}
	}
	return Outcome{Writes: strings.Fields(cell)}
}

// Write writes both halves below a root. What both have is the kubelet's half's.
func (n Node) Write(root string) error {
	if err := n.Containerd.Write(root); err != nil {
		return err
	}
	return Write(root, n.Kubelet)
}
