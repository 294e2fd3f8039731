package kubeletconfig_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// Another provider's entry and its comment stay as they are.
func ExampleConfig() {
	old := []byte(`apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider   # AWS wrote this
    matchImages: ["*.dkr.ecr.*.amazonaws.com"]
    defaultCacheDuration: "12h"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`)
	data, err := kubeletconfig.Config(old, kubeletconfig.Desired{Providers: []kubeletconfig.Provider{{
		Name:        "mirror-credential-provider",
		MatchImages: []string{"docker.io"},
		Args:        []string{"--registry-mirror=@/var/lib/mirrorcred/routes"},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the old bytes are kept:", bytes.HasPrefix(data, old))
	entries, err := kubeletconfig.Read(kubeletconfig.File{Name: "config.yaml", Data: data})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e.Name, e.MatchImages)
	}
	// Output:
	// the old bytes are kept: true
	// ecr-credential-provider [*.dkr.ecr.*.amazonaws.com]
	// mirror-credential-provider [docker.io]
}

// Read finds what would keep the kubelet from starting.
func ExampleRead() {
	_, err := kubeletconfig.Read(kubeletconfig.File{Name: "config.yaml", Data: []byte(`apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider
    matchImages: []
    defaultCacheDuration: "12h"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`)})
	fmt.Println(err)
	// Output: config.yaml:5: providers[0].matchImages: a provider needs at least one pattern; write one, or take the provider out
}
