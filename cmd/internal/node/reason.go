package node

import (
	"errors"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// Parts are the parts of a node that an error can be about.
var Parts = []string{plan.PartMap, plan.PartContainerd, plan.PartKubelet, plan.PartDisk}

// PartsOf returns which parts of the node an error is about: none for nil, and
// two if the map has a fault and containerd does not read its mirrors either.
func PartsOf(err error) []string {
	if err == nil {
		return nil
	}
	var list []string
	if config := (*plan.ConfigError)(nil); errors.As(err, &config) {
		list = append(list, config.Part)
	}
	if unarmed := (*NotArmedError)(nil); errors.As(err, &unarmed) && !slices.Contains(list, plan.PartContainerd) {
		list = append(list, plan.PartContainerd)
	}
	if list == nil {
		list = append(list, plan.PartDisk)
	}
	return list
}
