// Mirrorcred makes a node match its mirror map: containerd's registry
// configuration, the kubelet's credential providers, and what the plugin
// between them may answer. Run it with --help.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// version is what "mirrorcred version" prints. The build sets it.
var version = "development"

// commit is what "mirrorcred version --json" prints besides. A build for a release
// sets it; else the Go command has recorded it, if it built from a checkout.
var commit string

const usage = `Usage: mirrorcred COMMAND [FLAGS]

One mirror map drives containerd's hosts.toml files and the kubelet's credential
plugin: every mirror has its credential, and every credential goes only to the
registry that it belongs to.

Commands:
  apply       make this node match its map, once
  watch       keep this node in sync with its map
  deliver     ask registries for "mirrorcred watch"
  status      show the state of this node
  units       print or install the systemd units
  plugin      show or refresh the copies of the plugin that kubelets run
  events      show the plugin's log
  check       find everything here that would make a pull go wrong
  explain     show what happens when this node pulls an image
  import      print a map made from another program's mirror settings
  rbac        print the cluster's rules that the map's credentials need
  pull        pull images through their mirrors, the pause image too
  bootstrap   set this node up for mirrorcred, or take that back
  install     put mirrorcred on the node of a pod, or take it off
  courier     in a pod: carry a map from the cluster to the host
  completion  print what a shell needs to complete these commands, or the manual
  version     print the version
  help        print the help of a command

Run "mirrorcred COMMAND --help" for the flags of a command.
`

// An exit is an exit code without an error: the command printed what it means.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	stdout, stderr := &plain{w: os.Stdout}, &plain{w: os.Stderr}
	err := run(context.Background(), os.Args[1:], stdout)
	var code exit
	var end stopped
	switch {
	case err == nil:
	case errors.As(err, &end):
		fmt.Fprintf(stderr, "mirrorcred: %s\n", report(err, lineWidth(os.Stderr)))
		os.Exit(end.code())
	case errors.As(err, &code) && onlyExit(err):
		os.Exit(int(code))
	default:
		if wantsJSON(os.Args[1:]) {
			_ = json.NewEncoder(stdout).Encode(map[string]string{"error": withoutExits(err).Error()}) // it is on stderr too
		}
		fmt.Fprintf(stderr, "mirrorcred: %s\n", report(withoutExits(err), lineWidth(os.Stderr)))
		os.Exit(1)
	}
}

// withoutExits returns an error without the exit codes that are joined to it: a result
// with a code of its own may also be one that could not be written.
func withoutExits(err error) error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var rest []error
	for _, one := range many.Unwrap() {
		if !onlyExit(one) {
			rest = append(rest, withoutExits(one))
		}
	}
	if len(rest) == 1 {
		return rest[0]
	}
	return errors.Join(rest...)
}
