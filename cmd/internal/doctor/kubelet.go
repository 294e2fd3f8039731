package doctor

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Patterns reports the patterns in the kubelet's matchImages that match nothing, or more
// than intended.
func Patterns(entries []kubeletconfig.Entry) []Finding {
	var found []Finding
	for _, e := range entries {
		where := e.File
		if e.Line > 0 {
			where = fmt.Sprintf("%s:%d", e.File, e.Line)
		}
		for _, text := range e.MatchImages {
			if text == "mirrorcred.invalid" {
				continue // mirrorcred's own, which must match nothing
			}
			if _, err := mirror.ParsePattern(text); err != nil {
				what, repair := fault.Split(err.Error())
				found = append(found, Finding{MatchImagesNeverMatch, where, fmt.Sprintf("pattern %q of provider %q matches no image: %s", text, e.Name, what), cmp.Or(repair, "take it out") + ", and restart the kubelet"})
			}
			if labels := strings.Split(text, "."); len(labels) > 1 && strings.Trim(text, "*.") == "" && e.Routes() == "" {
				found = append(found, Finding{MatchImagesTooWide, where, fmt.Sprintf("pattern %q of provider %q matches every registry with %d labels in its name, so its credential is offered to all of them", text, e.Name, len(labels)), "name the registries that it is for, and restart the kubelet"})
			}
		}
	}
	return found
}
