package credential_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A plugin reads a request from its standard input, and writes a response to its
// standard output.
func ExampleAnswer() {
	request, err := credential.DecodeRequest([]byte(`{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"docker.io/library/nginx"}`))
	if err != nil {
		log.Fatal(err)
	}
	image, err := mirror.ParseImage(request.Image)
	if err != nil {
		log.Fatal(err)
	}
	data, err := credential.Answer(image, []*credential.Credential{{Username: "node", Password: "secret"}}).Encode()
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(data)
	// Output: {"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","cacheDuration":"0s","auth":{"docker.io":{"username":"node","password":"secret"}}}
}

// A passwordFile is a file with a password and nothing else.
type passwordFile struct {
	username, file string
	readFile       func(name string) ([]byte, error)
}

func (s passwordFile) Credential(_ context.Context, query credential.Query) (credential.Credential, error) {
	data, err := s.readFile(s.file)
	if err != nil {
		return credential.Credential{}, err
	}
	password := credential.Secret(strings.TrimSpace(string(data)))
	if !password.IsToken() {
		return credential.Credential{}, fmt.Errorf("%s does not hold one password; write one line", s.file)
	}
	return credential.Credential{Username: s.username, Password: password}, nil
}

// A new kind of credential is a type with one method.
func ExampleSource() {
	var source credential.Source = passwordFile{"node", "harbor.password", func(string) ([]byte, error) { return []byte("hunter2\n"), nil }}
	registry, err := mirror.ParseHost("harbor.corp:8443")
	if err != nil {
		log.Fatal(err)
	}
	c, err := source.Credential(context.Background(), credential.Query{Registry: registry, Image: "harbor.corp:8443/hub/library/nginx"})
	fmt.Println(c.Username, c.Password, err)
	// Output: node [secret] <nil>
}

// A provider's answer may have a key for each registry, and more than one that
// matches: the kubelet tries the longest first.
func ExampleLookup() {
	auth := map[string]credential.Credential{
		"*.corp":           {Username: "all"},
		"harbor.corp/team": {Username: "team"},
	}
	c, ok := credential.Lookup(auth, "harbor.corp/team/app", false)
	fmt.Println(c.Username, ok)
	// Output: team true
}

// Secrets do not print.
func ExampleSecret() {
	s := credential.Secret("hunter2")
	fmt.Printf("%v %q %d characters\n", s, s, len(s.Reveal()))
	// Output: [secret] [secret] 7 characters
}
