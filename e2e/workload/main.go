// A workload is what runs in a test's pods, and stands in for their pause
// container: it says hello and waits to be told to end.
package main

import (
	"fmt"
	"os"
	"os/signal"

	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("hello")
	<-end
}
