package release_test

import (
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/hosts/release"
)

func ExampleParse() {
	for _, s := range []string{"2.2", "v2.4.2", "1.7.35-1~deb12u1"} {
		v, err := release.Parse(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v, v.Release(), v.Before(2, 2, 2))
	}
	// Output:
	// 2.2 2.2 false
	// 2.4 2.4.2 false
	// 1.7 1.7.35 true
}
