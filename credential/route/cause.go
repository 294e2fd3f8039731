package route

import (
	"errors"
	"fmt"
)

// Errors of [Decide] that a caller may want to count; test for them with
// [errors.Is]. Every other error of Decide means that a route is missing or does
// not fit the node.
var (
	ErrWithdrawn    = errors.New("the mirror was removed and drains")
	ErrHostsNotRead = errors.New("containerd does not read the hosts.toml that was rendered")
	ErrNotInMap     = errors.New("another program's hosts.toml routes a registry that is not in the map")
)

// A caused is an error with one of the causes above, which is not in its text.
type caused struct {
	error
	cause error
}

func because(cause error, format string, args ...any) error {
	return caused{fmt.Errorf(format, args...), cause}
}

// Is reports whether the cause is target.
func (c caused) Is(target error) bool { return c.cause == target }

// unread says why containerd reads none of the route's hosts.toml files.
func (r *Route) unread(own string, now Observed) error {
	path := r.HostsDir + "/" + own + "/hosts.toml"
	switch {
	case now.Namespace == "":
		return because(ErrHostsNotRead, "%s does not exist, so containerd asks the source itself; run \"mirrorcred apply\"", path)
	case now.Namespace != own:
		return because(ErrHostsNotRead, "containerd reads %s/%s instead of %s; run \"mirrorcred apply\", or remove that directory", r.HostsDir, now.Namespace, path)
	case len(now.Hosts) == 0:
		return because(ErrHostsNotRead, "%s does not exist or is empty, so containerd asks the source itself; run \"mirrorcred apply\"", path)
	}
	return because(ErrHostsNotRead, "%s is not as mirrorcred wrote it; restore it with \"mirrorcred apply --adopt\", or remove %q from the mirror map", path, r.Source)
}
