package systemd_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// The units name the program where it is installed.
func ExampleUnits() {
	units, err := systemd.Units("/opt/bin/mirrorcred")
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range units {
		fmt.Println(u.Path, systemd.Edited(u.Data))
	}
	// Output:
	// /etc/systemd/system/mirrorcred.service false
	// /etc/systemd/system/mirrorcred-apply.service false
	// /etc/systemd/system/mirrorcred-deliver.service false
	// /etc/systemd/system/mirrorcred-deliver.path false
	// /etc/tmpfiles.d/mirrorcred.conf false
}

// A service says when it is ready, and keeps the watchdog quiet. Without systemd
// nothing of this does anything, so the program need not know.
func ExampleNotifier() {
	n, err := systemd.NewNotifier()
	if err != nil {
		log.Fatal(err)
	}
	if err := n.Ready("3 mirrors active"); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the service is done
	if err := n.KeepAlive(ctx, func() bool { return true }); err != nil {
		log.Fatal(err)
	}
	fmt.Println("done")
	// Output: done
}
