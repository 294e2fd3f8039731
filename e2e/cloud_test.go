package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/box"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// world is what there is outside of the node, the same for all tests. Each
// test pushes what it needs and forgets what the one before had recorded.
var world struct {
	cloud   *azuretest.Cloud
	network *node.Network
	acr     map[string]*azuretest.ACR
	sources map[string]*azuretest.Source
}

// Registries that serve images.
const (
	contoso  = "contoso.azurecr.io"
	fabrikam = "fabrikam.azurecr.io"
)

// setUp makes the world. It lasts as long as the box.
func setUp() error {
	w := &world
	w.acr, w.sources = map[string]*azuretest.ACR{}, map[string]*azuretest.Source{}
	var err error
	if w.network, err = node.NewNetwork(); err != nil {
		return err
	}
	if w.cloud, err = azuretest.Start(azuretest.Options{}); err != nil {
		return err
	}
	ca, err := os.ReadFile(w.cloud.CAFile())
	if err != nil {
		return err
	}
	if err := os.WriteFile("/etc/ssl/certs/ca-certificates.crt", ca, 0o644); err != nil {
		return err
	}
	for _, host := range []string{box.Metadata + ":80", "login.microsoftonline.com:443"} {
		if err := serve(host); err != nil {
			return err
		}
	}
	for _, name := range []string{contoso, fabrikam} {
		if err := addACR(name, azuretest.ACROptions{}); err != nil {
			return err
		}
	}
	if err := addACR(pauseRegistry, azuretest.ACROptions{AllowAnonymous: true}); err != nil {
		return err
	}
	for _, host := range []string{"mcr.microsoft.com", "quay.io", "registry-1.docker.io", "registry.corp:5000"} {
		if err := addSource(host); err != nil {
			return err
		}
	}
	return nil
}

func addACR(host string, o azuretest.ACROptions) (err error) {
	if world.acr[host], err = world.cloud.AddACR(host, o); err != nil {
		return err
	}
	return serve(withPort(host))
}

func addSource(host string) (err error) {
	if world.sources[host], err = world.cloud.AddSource(host, azuretest.SourceOptions{}); err != nil {
		return err
	}
	return serve(withPort(host))
}

// serve has the stand-in answer at host:port as the rest of the box sees it.
func serve(host string) error {
	return world.network.Serve(host, func(ctx context.Context) (net.Conn, error) {
		return world.cloud.DialContext(ctx, "tcp", host)
	})
}

func withPort(host string) string {
	if strings.Contains(host, ":") {
		return host
	}
	return host + ":443"
}

// forget empties all records and mends all faults.
func forget() {
	world.cloud.Identity.Forget()
	world.cloud.Identity.Mend()
	for _, a := range world.acr {
		a.Forget()
		a.Mend()
	}
	for _, s := range world.sources {
		s.Forget()
		s.Mend()
	}
}

// push puts the workload's image into a registry.
func push(t *testing.T, registry, repository, tag string) {
	t.Helper()
	image, err := workload()
	if err == nil {
		_, err = world.acr[registry].Push(repository, tag, image)
	}
	if err != nil {
		t.Fatalf("push %s/%s:%s: %v", registry, repository, tag, err)
	}
}

// workload is an image of one layer with one static program in it.
var workload = sync.OnceValues(func() (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(programLayer)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture
	file.Config.Entrypoint = []string{"/workload"}
	return mutate.ConfigFile(image, file)
})

// silent fails the test where a source has been asked anything at all.
func silent(t *testing.T, host string) {
	t.Helper()
	for _, r := range world.sources[host].Requests() {
		t.Errorf("the source was asked: %s %s", r.Method, r.URL)
	}
}

// credited fails the test unless a registry was shown, and took, a refresh
// token of its own for a pull.
func credited(t *testing.T, registry string) {
	t.Helper()
	var asked []string
	for _, r := range world.acr[registry].Requests() {
		if strings.Contains(r.URL, "/oauth2/token") && r.Form.Get("username") == azuretest.TokenUsername && strings.Contains(r.Form.Get("password"), azuretest.Canary) {
			return
		}
		asked = append(asked, fmt.Sprintf("%s %s", r.Method, r.URL))
	}
	t.Errorf("%s was not shown its credential; it was asked:\n%s", registry, strings.Join(asked, "\n"))
}
