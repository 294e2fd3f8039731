package plugin

import (
	"context"
	"errors"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/route"
)

// A coded is an error with its code for the audit log.
type coded struct {
	error
	code audit.Code
}

// Unwrap returns the error alone.
func (c coded) Unwrap() error { return c.error }

// withCode adds a code to an error, unless it is nil or has one.
func withCode(code audit.Code, err error) error {
	var has coded
	if err == nil || errors.As(err, &has) {
		return err
	}
	return coded{err, code}
}

// routeError adds the code to an error of [route.Decide].
func routeError(err error) error {
	switch {
	case errors.Is(err, route.ErrWithdrawn):
		return withCode(audit.Draining, err)
	case errors.Is(err, route.ErrHostsNotRead):
		return withCode(audit.HostsChanged, err)
	case errors.Is(err, route.ErrNotInMap):
		return withCode(audit.NotInMap, err)
	}
	return withCode(audit.NoRoute, err)
}

// codeOf returns the code of a run that ended with an error, or with none.
func (n *node) codeOf(ctx context.Context, err error) audit.Code {
	var has coded
	switch {
	case err == nil && n.journal.answered && n.journal.partial:
		return audit.Partial
	case err == nil:
		return ""
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return audit.Timeout
	case ctx.Err() != nil:
		return audit.Stopped
	case n.outcome(ctx, err) == audit.Failed:
		return audit.Fetch
	case errors.As(err, &has):
		return has.code
	}
	return audit.Other
}

// firstCode returns the code of the first error that has one.
func firstCode(errs []error) audit.Code {
	var has coded
	for _, err := range errs {
		if errors.As(err, &has) {
			return has.code
		}
	}
	return audit.Other
}
