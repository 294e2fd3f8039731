package route

import (
	"errors"
	"fmt"
)

// Errors of [Decide] that a caller may want to count; test for them with
// [errors.Is]. Every other error of Decide means that a route is missing or does
// not fit the node.
var (
	ErrWithdrawn  = errors.New("the mirror was removed and drains")
	ErrNotInForce = errors.New("containerd does not read the hosts.toml that was rendered")
	ErrNotInMap   = errors.New("another program's hosts.toml routes a registry that is not in the map")
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
