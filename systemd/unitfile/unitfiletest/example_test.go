package unitfiletest_test

import (
	"fmt"

	"github.com/mirrorcred/mirrorcred/systemd/unitfile/unitfiletest"
)

// The first line, and the arguments that a program gets by it.
func Example() {
	l := unitfiletest.Lines[0]
	fmt.Println(l.File)
	fmt.Printf("%s: %q\n", l.Words, l.Want)
	// Output:
	// A="--x=1 --y=2"
	// $A: ["--x=1" "--y=2"]
}
