// Mirror-credential-provider is the credential plugin that the kubelet
// executes; see package plugin.
package main

import (
	"context"
	"os"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plugin"
)

func main() {
	os.Exit(plugin.Run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr, os.Exit))
}
