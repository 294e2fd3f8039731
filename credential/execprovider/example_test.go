package execprovider_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/execprovider"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A provider is any program that speaks the kubelet's protocol.
func ExampleNew() {
	source, err := execprovider.New(execprovider.Options{
		Command: "/bin/sh",
		Args: []string{"-c", `cat >/dev/null; echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",` +
			`"cacheKeyType":"Registry","cacheDuration":"1h","auth":{"registry.corp":{"username":"node","password":"secret"}}}'`},
	})
	if err != nil {
		log.Fatal(err)
	}
	registry, err := mirror.ParseHost("registry.corp")
	if err != nil {
		log.Fatal(err)
	}
	c, err := source.Credential(context.Background(), credential.Query{Registry: registry, Image: "registry.corp/app"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Println(c.Username, c.Password, c.Expires.IsZero())
	// Output: node [secret] false
}
