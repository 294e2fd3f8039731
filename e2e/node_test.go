package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// Where a node has mirrorcred's things.
const (
	mapFile        = "/etc/mirrorcred/mirrors.toml"
	azureFile      = "/etc/kubernetes/azure.json"
	providerConfig = "/var/lib/kubelet/credential-provider-config.yaml"
	providerBin    = "/var/lib/kubelet/credential-provider"
	stateDir       = "/var/lib/mirrorcred"
	imageRecords   = "/var/lib/kubelet/image_manager" // whose credentials images were pulled with
)

// freshNode gives the test a node that is not set up yet, except for what an
// image of it brings along: the plugin's binary and azure.json. The world's
// records are empty.
func freshNode(t *testing.T) {
	t.Helper()
	forget()
	for _, path := range []string{"/etc/mirrorcred", node.HostsDir, stateDir, "/run/mirrorcred", providerConfig, providerBin, imageRecords} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	write(t, azureFile, `{"cloud": "AzurePublicCloud", "tenantId": "11111111-2222-3333-4444-555555555555", "useManagedIdentityExtension": true}`)
	plugin, err := os.ReadFile(program("mirror-credential-provider"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(providerBin, "mirror-credential-provider"), string(plugin))
	if err := os.Chmod(filepath.Join(providerBin, "mirror-credential-provider"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// apply writes the map, runs "mirrorcred apply", and fails the test unless it
// exits with want. It returns what the command printed.
func apply(t *testing.T, mirrors string, want int) string {
	t.Helper()
	out, got := applyAny(t, mirrors)
	if got != want {
		t.Fatalf("mirrorcred apply: exit %d; want %d\n%s\nthe map:\n%s", got, want, out, mirrors)
	}
	return out
}

// applyAny is apply with any exit code, which it returns.
func applyAny(t *testing.T, mirrors string) (said string, code int) {
	t.Helper()
	write(t, mapFile, mirrors)
	out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "apply", "--detailed-exitcode").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(out), code
}

// startContainerd starts a containerd that is set up as mirrorcred's documents say, and
// stops it when the test ends.
func startContainerd(t *testing.T, version string) *node.Containerd {
	t.Helper()
	return startContainerdAt(t, version, node.Config(version, node.HostsDir, pauseImage), node.Place{})
}

func startContainerdAt(t *testing.T, version, config string, place node.Place) *node.Containerd {
	t.Helper()
	c, err := node.StartContainerd(t.Context(), program("containerd-"+version), config, place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			t.Log(c.Tail(30))
		}
	})
	return c
}

// answer runs the plugin as the kubelet does, with the arguments that the
// kubelet would read, and returns the credentials that it would try for an
// image, in its order. The error is what the plugin wrote to standard error.
func answer(ctx context.Context, image string) ([]*cri.AuthConfig, error) {
	args, err := providerArgs()
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(map[string]string{
		"kind": "CredentialProviderRequest", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
		"image": strings.SplitN(image, "@", 2)[0],
	})
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, filepath.Join(providerBin, "mirror-credential-provider"), args...)
	var stderr bytes.Buffer
	c.Stdin, c.Stderr = bytes.NewReader(request), &stderr
	stdout, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("the plugin: %w: %s", err, stderr.String())
	}
	var response credentialprovider.CredentialProviderResponse
	if err := yaml.UnmarshalStrict(stdout, &response); err != nil {
		return nil, err
	}
	var list []*cri.AuthConfig
	keys := slices.Sorted(maps.Keys(response.Auth))
	slices.Reverse(keys)
	for _, key := range keys {
		a := response.Auth[key]
		list = append(list, &cri.AuthConfig{Username: a.Username, Password: a.Password})
	}
	return list, nil
}

// providerArgs returns the arguments of mirrorcred's plugin in the kubelet's
// configuration.
func providerArgs() ([]string, error) {
	data, err := os.ReadFile(providerConfig)
	if err != nil {
		return nil, err
	}
	var config struct {
		Providers []struct {
			Name string   `json:"name"`
			Args []string `json:"args"`
		} `json:"providers"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	for _, p := range config.Providers {
		if p.Name == "mirror-credential-provider" {
			return p.Args, nil
		}
	}
	return nil, fmt.Errorf("%s has no provider of mirrorcred's", providerConfig)
}

// pull pulls repository:tag as the kubelet does: with each credential that the
// plugin answers until one will do, and with none if it answers none.
func pull(ctx context.Context, c *node.Containerd, repository, tag string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	list, pluginErr := answer(ctx, repository)
	if len(list) == 0 {
		list = []*cri.AuthConfig{nil}
	}
	var err error
	for _, auth := range list {
		if err = c.Pull(ctx, repository+":"+tag, auth); err == nil {
			return nil
		}
	}
	return errors.Join(err, pluginErr)
}
