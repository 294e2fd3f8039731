package dockerconfig

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/internal/child"
)

// askHelper gets a credential from a docker credential helper, the program
// docker-credential-NAME in PATH (github.com/docker/docker-credential-helpers
// v0.9, client/client.go, Get): it reads the server's name, and prints a JSON
// object; one that fails says why on standard output. key is where the file
// names it.
func (c *config) askHelper(ctx context.Context, key, name, server string) (credential.Credential, error) {
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s %q: %w", c.file, key, name, fmt.Errorf(format, args...))
	}
	if name != filepath.Base(name) {
		return credential.Credential{}, fault("not the name of a helper; write what follows \"docker-credential-\"")
	}
	program, err := exec.LookPath("docker-credential-" + name)
	if err != nil {
		return credential.Credential{}, fault("there is no docker-credential-%s in PATH; install it, or give %q an entry under auths and take %s out", name, server, key)
	}
	data, err := child.Program{Path: program, Args: []string{"get"}, Stdin: []byte(server + "\n"), ComplainsOnStdout: true}.Run(ctx)
	if err != nil {
		return credential.Credential{}, fault("asked for %q: %w", server, err)
	}
	var answer struct {
		Username string
		Secret   credential.Secret
	}
	switch err := json.Unmarshal(data, &answer); {
	case err != nil:
		return credential.Credential{}, fault("its answer for %q is not the JSON of a docker credential helper", server)
	case strings.EqualFold(answer.Username, "<token>"):
		return credential.Credential{}, fault("it has an identity token for %q, and the kubelet can hand on only a username and a password; log in with those of a robot account or an access token", server)
	case answer.Username == "" || answer.Secret == "":
		return credential.Credential{}, fault("it has no username or no password for %q; log in there, with docker login", server)
	}
	return credential.Credential{Username: answer.Username, Password: answer.Secret}, nil
}
