package dockerconfig_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Of two entries, the one with the longer path serves the image.
func ExampleParse() {
	source, err := dockerconfig.Parse("config.json", []byte(`{"auths": {
		"harbor.corp": {"username": "all", "password": "1"},
		"harbor.corp/team": {"username": "team", "password": "2"}
	}}`))
	if err != nil {
		log.Fatal(err)
	}
	registry, err := mirror.ParseHost("harbor.corp")
	if err != nil {
		log.Fatal(err)
	}
	for _, image := range []string{"harbor.corp/team/app", "harbor.corp/teamx/app"} {
		c, err := source.Credential(context.Background(), credential.Query{Registry: registry, Image: image})
		fmt.Println(image, c.Username, err)
	}
	// Output:
	// harbor.corp/team/app team <nil>
	// harbor.corp/teamx/app all <nil>
}
