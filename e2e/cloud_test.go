package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// corporateCA is the certificate of the authority that only the
	// corporate registry has.
	corporateCA string
}

// The registries of the world.
const (
	contoso   = "contoso.azurecr.io"
	fabrikam  = "fabrikam.azurecr.io"
	partner   = "partner.azurecr.io"   // an ACR that images name
	public    = "public.azurecr.io"    // gives a token to everybody
	open      = "open.example.com"     // likewise, and images name it
	corporate = "harbor.corp:8443"     // likewise, under an authority of its own
	forbidden = "forbidden.azurecr.io" // for a test to have refuse everything
	dead      = "dead.azurecr.io"      // there is no route to it
	closed    = "closed.azurecr.io"    // nothing listens there
	hanging   = "hanging.azurecr.io"   // takes connections and says nothing
	harbor    = "harbor.example.com"   // takes the tokens of a cluster's pods (see judge) and one tenant's password
)

// The hosts that images name, which grant nothing. docker.io stands for
// registry-1.docker.io.
var sources = []string{
	"mcr.microsoft.com", "quay.io", "docker.io", "registry.corp:5000", "any.example.org",
	"dead.example.com", "closed.example.com", "hangs.example.com", "forbids.example.com", "ca.example.com",
}

// setUp makes the world. It lasts as long as the box.
func setUp() error {
	w := &world
	w.acr, w.sources = map[string]*azuretest.ACR{}, map[string]*azuretest.Source{}
	var err error
	if w.network, err = node.NewNetwork(); err != nil {
		return err
	}
	if w.cloud, err = azuretest.Start(azuretest.Options{Federations: []azuretest.Federation{
		{ClientID: podIdentity, Accept: func(token string) bool { return judge(token, azureAudience, "robot") }},
	}}); err != nil {
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
		if err := serve(w.cloud, host); err != nil {
			return err
		}
	}
	return errors.Join(registries(), outOfReach())
}

// registries starts all that answers.
func registries() error {
	for _, name := range []string{contoso, fabrikam, partner, forbidden} {
		if err := addACR(world.cloud, name, azuretest.ACROptions{}); err != nil {
			return err
		}
	}
	everybody := azuretest.ACROptions{AllowAnonymous: true}
	for _, name := range []string{public, open, pauseRegistry} {
		if err := addACR(world.cloud, name, everybody); err != nil {
			return err
		}
	}
	if err := addACR(world.cloud, harbor, azuretest.ACROptions{Accept: acceptedByHarbor}); err != nil {
		return err
	}
	if err := addACR(world.cloud, vendor, azuretest.ACROptions{Accept: acceptedByVendor}); err != nil {
		return err
	}
	corp, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(corp.CAFile())
	if err != nil {
		return err
	}
	world.corporateCA = string(ca)
	if err := addACR(corp, corporate, everybody); err != nil {
		return err
	}
	for _, host := range sources {
		if err := addSource(host); err != nil {
			return err
		}
	}
	return nil
}

// outOfReach names what does not answer, each in its own way.
func outOfReach() error {
	_, err := world.network.Address(closed)
	return errors.Join(err, world.network.Unreachable(dead), world.network.Silent(withPort(hanging)))
}

func addACR(cloud *azuretest.Cloud, host string, o azuretest.ACROptions) (err error) {
	if world.acr[host], err = cloud.AddACR(host, o); err != nil {
		return err
	}
	return serve(cloud, withPort(host))
}

func addSource(host string) (err error) {
	served := host
	if host == "docker.io" {
		served = "registry-1.docker.io"
	}
	if world.sources[host], err = world.cloud.AddSource(served, azuretest.SourceOptions{}); err != nil {
		return err
	}
	return serve(world.cloud, withPort(served))
}

// serve has a stand-in answer at host:port as the rest of the box sees it.
func serve(cloud *azuretest.Cloud, host string) error {
	return world.network.Serve(host, func(ctx context.Context) (net.Conn, error) {
		return cloud.DialContext(ctx, "tcp", host)
	})
}

func withPort(host string) string {
	if strings.Contains(host, ":") {
		return host
	}
	return host + ":443"
}

// forget empties all records and repairs all faults.
func forget() {
	world.cloud.Identity.Forget()
	world.cloud.Identity.Repair()
	for _, a := range world.acr {
		a.Forget()
		a.Repair()
	}
	for _, s := range world.sources {
		s.Forget()
		s.Repair()
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

// workload is an image of one static program that waits.
var workload = sync.OnceValues(func() (v1.Image, error) { return imageOf("workload") })

// imageOf returns an image of one layer with programs, the first of which it starts.
func imageOf(programs ...string) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return programLayer(programs...) })
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
	file.Config.Entrypoint = []string{"/" + programs[0]}
	return mutate.ConfigFile(image, file)
}

// silent fails the test if a source has been asked anything at all.
func silent(t *testing.T, host string) {
	t.Helper()
	for _, r := range world.sources[host].Requests() {
		t.Errorf("the source was asked: %s %s", r.Method, r.URL)
	}
}

// unoffered fails the test if a source has been shown a credential; it may
// have been asked.
func unoffered(t *testing.T, host string) {
	t.Helper()
	for _, r := range world.sources[host].Offered() {
		t.Errorf("%s was shown a credential: %s %s", host, r.Method, r.URL)
	}
}

// credited fails the test unless a registry was shown a refresh token of its
// own for a pull of the repository.
func credited(t *testing.T, registry, repository string) {
	t.Helper()
	var asked []string
	for _, r := range world.acr[registry].Requests() {
		if strings.Contains(r.URL, "/oauth2/token") && r.Form.Get("username") == azuretest.TokenUsername &&
			strings.Contains(r.Form.Get("password"), azuretest.Canary) &&
			strings.Contains(r.Form.Get("scope"), "repository:"+repository+":") {
			return
		}
		asked = append(asked, fmt.Sprintf("%s %s", r.Method, r.URL))
	}
	t.Errorf("%s was not shown its credential for %s; it was asked:\n%s", registry, repository, strings.Join(asked, "\n"))
}

// pushRandom puts a new image, of which no one has any part, into a registry.
func pushRandom(t *testing.T, registry, repository, tag string) {
	t.Helper()
	if _, err := world.acr[registry].PushRandom(repository, tag); err != nil {
		t.Fatal(err)
	}
}
