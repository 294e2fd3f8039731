package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/importer"
)

const importUsage = `Usage: mirrorcred import [FLAGS] FILE|DIR
       mirrorcred import --registry-mirror=SOURCE:TARGET,…

Prints a mirror map that is equivalent to another program's settings. It changes
nothing. It reads these, and tells them apart by their content:

  DIR                 a directory of hosts.toml files, such as
                      /etc/containerd/certs.d, whoever wrote them
  hosts.toml          one of them, in a directory named for its host
  registries.yaml     of k3s or RKE2
  config.toml         of containerd, with registry.mirrors or registry.configs
  a kubelet's CredentialProviderConfig with a --registry-mirror argument

      --share                  write share_credential = true if a mirror needs it
                               to stay as it is: containerd offers the credential
                               of a pull to each registry in its list
      --registry-mirror VALUE  import the value of acr-credential-provider's flag
  -h, --help                   print this text

Settings that a map cannot hold are reported on stderr with their line, and so is
each login: a map holds no secrets, and none is printed.

Exit code: 0 the map is complete; 2 something was left out, or you have to move a
login yourself; 1 nothing could be imported.

Example:
  mirrorcred import /etc/rancher/k3s/registries.yaml > mirrors.toml
  mirrorcred apply -n --map mirrors.toml
`

// runImport is the command import.
func runImport(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("import", pflag.ContinueOnError)
	share := flags.Bool("share", false, "")
	mapping := flags.String("registry-mirror", "", "")
	if done, err := parseFlags(flags, importUsage, args, stdout); done || err != nil {
		return err
	}
	var from string
	switch {
	case flags.Changed("registry-mirror") && flags.NArg() == 0:
		from = "--registry-mirror=" + *mapping
	case flags.NArg() == 1 && !flags.Changed("registry-mirror"):
		from = flags.Arg(0)
	default:
		return errors.New("name one file or directory to import, such as /etc/containerd/certs.d; run \"mirrorcred import --help\"")
	}
	result, err := importer.Import(from, importer.Options{Share: *share})
	if err != nil {
		return err
	}
	if _, err := stdout.Write(result.Map); err != nil {
		return err
	}
	for _, loss := range result.Losses {
		fmt.Fprintf(&plain{w: os.Stderr}, "%s\n", loss)
	}
	if len(result.Losses) > 0 {
		return exit(2)
	}
	return nil
}
