package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestReport holds what a person reads of a fault of the node, and of other errors.
func TestReport(t *testing.T) {
	const stays = "what was applied before stays"
	list := &fault.Fault{What: "config_path is a list", Where: "/etc/containerd/config.toml:3", Found: "config_path = \"/a:/b\"", Fix: "set config_path, then run: systemctl restart containerd", Until: "mirrors stay off"}
	yaml := func(line int, found, fix string) error {
		return &fault.Fault{What: "the kubelet would not start", Where: fmt.Sprintf("/k.yaml:%d", line), Found: found, Fix: fix, Until: stays}
	}
	for name, test := range map[string]struct {
		err   error
		width int
		want  string
	}{
		"another error": {errors.New("unknown flag -x; run \"mirrorcred --help\""), math.MaxInt, "unknown flag -x; run \"mirrorcred --help\""},
		"whole lines": {&node.NotArmedError{Reason: list}, math.MaxInt, `config_path is a list
  found  /etc/containerd/config.toml:3: config_path = "/a:/b"
  fix    set config_path, then run: systemctl restart containerd
  until  mirrors stay off`},
		"a command is not folded": {list, 40, `config_path is a list
  found  /etc/containerd/config.toml:3:
         config_path = "/a:/b"
  fix    set config_path, then run:
         systemctl restart containerd
  until  mirrors stay off`},
		"nothing but a command": {&fault.Fault{What: "the plugin cannot be run", Where: "/p", Found: "it is not executable", Fix: "run: chmod 0755 /a/long/path/to/the/plugin"}, 30, `the plugin cannot be run
  found  /p: it is not
         executable
  fix    chmod 0755 /a/long/path/to/the/plugin`},
		"nothing but what it is": {&fault.Fault{What: "there is no map", Cause: fs.ErrNotExist}, math.MaxInt, "there is no map"},
		"what they have in common is said once": {plan.About(plan.PartKubelet, errors.Join(yaml(4, "a tab", "write spaces"), yaml(6, "no name", "write one"))), math.MaxInt, `the kubelet would not start
  found  /k.yaml:4: a tab
  fix    write spaces
  found  /k.yaml:6: no name
  fix    write one
  until  what was applied before stays`},
		"beside another error": {errors.Join(errors.New("x"), yaml(4, "a tab", "write spaces")), math.MaxInt, `x
the kubelet would not start
  found  /k.yaml:4: a tab
  fix    write spaces
  until  what was applied before stays`},
	} {
		if got := report(test.err, test.width); got != test.want {
			t.Errorf("%s: report =\n%s\nwant\n%s", name, got, test.want)
		}
	}
}
