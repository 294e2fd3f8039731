package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// logins reports containerd's own logins for the registries of the map. containerd uses
// them for each pull that comes without a credential.
func logins(facts *Facts) []Finding {
	var found []Finding
	for _, login := range facts.Logins {
		host := strings.TrimPrefix(strings.TrimPrefix(login.Host, "https://"), "http://")
		i := slices.IndexFunc(facts.Map.Mirrors, func(one mirror.Mirror) bool {
			return slices.ContainsFunc(one.Targets, func(t mirror.Target) bool { return t.Host().String() == host })
		})
		if i < 0 {
			continue
		}
		found = append(found, Finding{ContainerdLoginUsed, login.Where,
			fmt.Sprintf("containerd has its own login for %q here and uses it if a pull of %q comes without a credential: a wrong one fails the pull, and a right one hides that the plugin returned none", login.Host, facts.Map.Mirrors[i].Source),
			fmt.Sprintf("remove [%s], name the login as a credential in the map, and restart containerd", login.Table)})
	}
	return found
}
