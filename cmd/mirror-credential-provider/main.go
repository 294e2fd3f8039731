// Mirror-credential-provider is the credential plugin that the kubelet
// executes; see package plugin.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plugin"
)

func main() {
	if err := plugin.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}
