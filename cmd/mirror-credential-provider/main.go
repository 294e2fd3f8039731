// Mirror-credential-provider is the credential plugin that the kubelet
// executes; see package plugin.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plugin"
)

func main() {
	// A run allocates a few MiB and ends. To look for garbage in them takes more
	// memory than it gives back, and time; the limit is for a run that goes wrong.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(32 << 20)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := plugin.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}
