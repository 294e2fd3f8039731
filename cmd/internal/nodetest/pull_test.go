package nodetest_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// toContoso is the map of one mirror.
const toContoso = `version = 1

[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
`

const servicePrincipal = `{"tenantId": "` + azuretest.DefaultTenant + `", "aadClientId": "` + azuretest.DefaultClientID +
	`", "aadClientSecret": "` + azuretest.DefaultClientSecret + `"}`

// A served is a registry that gives tokens, and the repository that it holds.
type served struct {
	host, repository string
	opts             azuretest.ACROptions
}

var (
	anonymous = azuretest.ACROptions{AllowAnonymous: true}
	open      = azuretest.ACROptions{Open: true}
)

// pulls are whole pulls. The last one of the registries holds the image; the
// sources grant nothing, and what is not said to be asked or shared must not
// be.
var pulls = map[string]struct {
	mirrorMap  string            // CA-FILE stands for the path of the stand-in's CA
	azure      string            // azure.json; "" is one with a managed identity
	files      map[string]string // besides, executable for root
	login      string            // the registry that the login in them is for
	image      string
	registries []served
	sources    []string
	attempts   int      // to pull, one for each credential
	asked      []string // sources that are asked, without a credential
	shared     bool     // whether the map shares its credentials
	strange    bool     // whether containerd has no CA but those of the map
	fault      string   // in the reason why there is no image; "" if there is
}{
	"one target": {
		mirrorMap:  toContoso,
		image:      "mcr.microsoft.com/oss/kubernetes/pause:3.10",
		registries: []served{{host: "contoso.azurecr.io", repository: "oss/kubernetes/pause"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
	},
	"a service principal": {
		mirrorMap:  toContoso,
		azure:      servicePrincipal,
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
	},
	"a prefix": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "", "contoso.azurecr.io/mcr"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "mcr/app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
	},
	"Docker Hub below a prefix": {
		mirrorMap:  mirrorOf("docker.io", "", "contoso.azurecr.io/dockerhub"),
		image:      "nginx:1.27",
		registries: []served{{host: "contoso.azurecr.io", repository: "dockerhub/library/nginx"}},
		sources:    []string{"docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"},
		attempts:   1,
	},
	"a repository that begins with v2": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "https://127.0.0.1:1", "contoso.azurecr.io"),
		image:      "mcr.microsoft.com/v2/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "v2/app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   2,
		shared:     true,
	},
	"every registry": {
		mirrorMap:  mirrorOf("*", "", "contoso.azurecr.io/all"),
		image:      "quay.io/team/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "all/team/app"}},
		sources:    []string{"quay.io"},
		attempts:   1,
	},
	"a port": {
		mirrorMap:  mirrorOf("registry.corp:5000", "", "contoso.azurecr.io"),
		image:      "registry.corp:5000/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"registry.corp:5000", "registry.corp"},
		attempts:   1,
	},
	"the first target is dead": {
		// It asks for no credential, so that the first attempt is one
		// without any.
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "https://127.0.0.1:1", "contoso.azurecr.io"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   2,
		shared:     true,
	},
	"the first target is a dead ACR": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "gone.azurecr.io", "contoso.azurecr.io"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
		shared:     true,
	},
	"the first target has no such image": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "fabrikam.azurecr.io", "contoso.azurecr.io/mcr"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "fabrikam.azurecr.io"}, {host: "contoso.azurecr.io", repository: "mcr/app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   2,
		shared:     true,
	},
	"back to the source, which gives tokens to anyone": {
		// With the target's credential it gives none; the second attempt
		// is without.
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "contoso.azurecr.io", "mcr.microsoft.com"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io"}, {host: "mcr.microsoft.com", repository: "app", opts: anonymous}},
		attempts:   2,
		shared:     true,
	},
	"back to the source, which asks for no token": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "share_credential = true", "contoso.azurecr.io", "mcr.microsoft.com"),
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io"}, {host: "mcr.microsoft.com", repository: "app", opts: open}},
		attempts:   1,
	},
	"a CA of the map": {
		mirrorMap:  toContoso + "\n[registry.\"contoso.azurecr.io\"]\nca = \"CA-FILE\"\n",
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
		strange:    true,
	},
	"a CA that is not configured": {
		mirrorMap:  toContoso,
		image:      "mcr.microsoft.com/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
		strange:    true,
		fault:      "x509",
	},
	"a registry served as itself": {
		mirrorMap:  "version = 1\n\n[registry.\"contoso.azurecr.io\"]\ndial_timeout = \"10s\"\n",
		image:      "contoso.azurecr.io/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		attempts:   1,
	},
	"an ACR that the map does not name": {
		mirrorMap:  toContoso,
		image:      "fabrikam.azurecr.io/app:v1",
		registries: []served{{host: "contoso.azurecr.io"}, {host: "fabrikam.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
	},
	"a docker config.json": {
		mirrorMap:  mirrorOf("docker.io", "", "harbor.corp:8443/hub") + dockerConfig,
		files:      map[string]string{"/etc/mirrorcred/harbor.json": `{"auths": {"harbor.corp:8443": {"username": "` + azuretest.DefaultClientID + `", "password": "` + azuretest.DefaultClientSecret + `"}}}`},
		login:      "harbor.corp:8443",
		image:      "nginx:1.27",
		registries: []served{{host: "harbor.corp:8443", repository: "hub/library/nginx"}},
		sources:    []string{"docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"},
		attempts:   1,
	},
	"another provider": {
		mirrorMap:  mirrorOf("public.ecr.aws", "", "ecr.corp/public") + "[registry.\"ecr.corp\"]\ncredential = \"ecr\"\n[credential.ecr]\nkind = \"exec\"\ncommand = \"/usr/libexec/provider\"\n",
		files:      map[string]string{"/usr/libexec/provider": provider},
		login:      "ecr.corp",
		image:      "public.ecr.aws/team/app:v1",
		registries: []served{{host: "ecr.corp", repository: "public/team/app"}},
		sources:    []string{"public.ecr.aws"},
		attempts:   1,
	},
	"two kinds of credentials": {
		mirrorMap:  mirrorOf("docker.io", "share_credential = true", "contoso.azurecr.io", "harbor.corp:8443/hub") + dockerConfig,
		files:      map[string]string{"/etc/mirrorcred/harbor.json": `{"auths": {"harbor.corp:8443": {"username": "` + azuretest.DefaultClientID + `", "password": "` + azuretest.DefaultClientSecret + `"}}}`},
		image:      "nginx:1.27",
		registries: []served{{host: "contoso.azurecr.io"}, {host: "harbor.corp:8443", repository: "hub/library/nginx"}},
		sources:    []string{"docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"},
		attempts:   2,
		shared:     true,
	},
	"a registry that the map does not name": {
		mirrorMap:  toContoso,
		image:      "quay.io/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com", "quay.io"},
		attempts:   1,
		asked:      []string{"quay.io"},
		fault:      "401",
	},
	"a source spelled otherwise": {
		mirrorMap:  mirrorOf("mcr.microsoft.com", "", "contoso.azurecr.io"),
		image:      "mcr.microsoft.com:443/app:v1",
		registries: []served{{host: "contoso.azurecr.io", repository: "app"}},
		sources:    []string{"mcr.microsoft.com"},
		attempts:   1,
		asked:      []string{"mcr.microsoft.com"},
		fault:      "401",
	},
}

// dockerConfig has harbor.corp:8443 ask for what /etc/mirrorcred/harbor.json holds.
const dockerConfig = "[registry.\"harbor.corp:8443\"]\ncredential = \"harbor\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n"

// provider is a kubelet credential provider that knows one image.
const provider = `#!/bin/sh
read -r request
case $request in
*'"image":"ecr.corp/public/team/app"'*) ;;
*) echo "asked for another image: $request" >&2; exit 1 ;;
esac
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"5m",
"auth":{"ecr.corp":{"username":"` + azuretest.DefaultClientID + `","password":"` + azuretest.DefaultClientSecret + `"}}}'
`

// mirrorOf returns a map of one mirror, with one more line in it.
func mirrorOf(source, line string, targets ...string) string {
	return fmt.Sprintf("version = 1\n\n[[mirror]]\nsource  = %q\ntargets = [\"%s\"]\n%s\n", source, strings.Join(targets, `", "`), line)
}

// TestWholePull applies a map, asks the plugin for an image as the kubelet
// does, and pulls it with the answer in each of containerd's ways.
func TestWholePull(t *testing.T) {
	for name, test := range pulls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.sources...)
			if test.azure != "" {
				if err := w.node.WriteFile(nodetest.AzureFile, test.azure); err != nil {
					t.Fatal(err)
				}
			}
			for path, text := range test.files {
				if err := w.writeSecret(path, text); err != nil {
					t.Fatal(err)
				}
			}
			if test.strange {
				w.node.ContainerdEnv = []string{"SSL_CERT_FILE=" + w.node.Path("no-such-file")}
			}
			tag := test.image[strings.LastIndex(test.image, ":")+1:]
			digest := ""
			for _, r := range test.registries {
				digest = w.add(r.host, r.repository, tag, r.opts)
			}
			if test.fault != "" {
				digest = ""
			}
			w.writeCA()
			w.apply(strings.ReplaceAll(test.mirrorMap, "CA-FILE", w.cloud.CAFile()))
			for _, way := range slices.Sorted(maps.Keys(ways)) {
				w.forget()
				answer := w.ask(test.image)
				got, attempts := w.pull(way, test.image, answer.Credentials)
				if got.Digest != digest || !strings.Contains(got.Fault, test.fault) {
					t.Fatalf("%s: pull = %q, %q; want %q, %q\nthe plugin said %q", way, got.Digest, got.Fault, digest, test.fault, answer.Run.Stderr)
				}
				if attempts != test.attempts {
					t.Errorf("%s: %d attempts to pull; want %d", way, attempts, test.attempts)
				}
				for host, acr := range w.acrs {
					if list := strays(host, test.login, acr.Requests()); len(list) > 0 && !test.shared {
						t.Errorf("%s: a credential of another registry was offered to %s, and the map does not share it: %s", way, host, list)
					}
				}
			}
			for _, address := range w.cloud.Refused() {
				if host := strings.TrimSuffix(address, ":443"); !strings.Contains(test.mirrorMap, host) {
					t.Errorf("%s was asked, which has no part in this", host)
				}
			}
			w.checkSources(test.asked...)
		})
	}
}

// checkSources holds that no source but these was asked anything, and that none
// was offered a credential.
func (w *world) checkSources(asked ...string) {
	w.Helper()
	for host, source := range w.sources {
		if got := source.Requests(); len(got) > 0 != slices.Contains(asked, host) {
			w.Errorf("%s saw %d requests; want some only if it must be asked: %v", host, len(got), got)
		}
		if got := source.Offered(); len(got) > 0 {
			w.Errorf("%s was offered a credential: %v", host, got)
		}
	}
}

// writeCA puts the stand-in's CA below the node's root too, where the manager
// looks for it; containerd's resolver, which knows no root, reads the file itself.
func (w *world) writeCA() {
	w.Helper()
	data, err := os.ReadFile(w.cloud.CAFile())
	if err == nil {
		err = w.node.WriteFile(w.cloud.CAFile(), string(data))
	}
	if err != nil {
		w.Fatal(err)
	}
}
