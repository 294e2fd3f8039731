package plan

import (
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Pulls has what a kubelet's records say about its pulls.
type Pulls struct {
	// Unknown says why they say nothing, "" if they do.
	Unknown string
	Images  []mirror.Image
	// Unread are the records that cannot be read, each of any image.
	Unread int
}

// Of counts the pulls that may be from a source.
func (p Pulls) Of(source string) int {
	count := p.Unread
	for _, image := range p.Images {
		if source == "*" || image.Host() == source {
			count++
		}
	}
	return count
}
