package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

func TestError(t *testing.T) {
	for want, f := range map[string]fault.Fault{
		"the map is missing":            {What: "the map is missing"},
		"the map is missing; create it": {What: "the map is missing", Fix: "create it"},
		"config_path is a list: a.toml:3: \"a:b\"; write one directory": {What: "config_path is a list", Where: "a.toml:3", Found: `"a:b"`, Fix: "write one directory"},
		"a.toml: not TOML": {Where: "a.toml", Found: "not TOML", Until: "mirrors stay off"},
	} {
		if got := f.Error(); got != want {
			t.Errorf("%+v: Error() = %q; want %q", f, got, want)
		}
	}
}

// TestOf checks that a fault is found in what wraps it, and that its copy is another
// one.
func TestOf(t *testing.T) {
	one := &fault.Fault{What: "x", Cause: fs.ErrPermission}
	got := fault.Of(fmt.Errorf("apply: %w", one))
	if *got != *one || got == one {
		t.Errorf("Of(wrapped) = %+v; want a copy of %+v", got, one)
	}
	if !errors.Is(got, fs.ErrPermission) {
		t.Errorf("%v is not its cause", got)
	}
	if got := fault.Of(errors.New("not TOML; correct it")); got.Found != "not TOML" || got.Fix != "correct it" {
		t.Errorf("Of(another error) = %+v", got)
	}
	if got := fault.Of(fs.ErrExist); got.Error() != fs.ErrExist.Error() || !errors.Is(got, fs.ErrExist) {
		t.Errorf("Of(%v) = %+v", fs.ErrExist, got)
	}
}
