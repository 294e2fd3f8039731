package nodetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/distribution/reference"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Credential is one that the kubelet tries a pull with; the zero Credential
// is an anonymous attempt.
type Credential struct{ Username, Password string }

// An Answer is what the kubelet got for an image.
type Answer struct {
	// Provider is the entry of the kubelet's configuration whose plugin was
	// executed, and Pattern the one of its patterns that matched; the zero
	// values if none does.
	Provider kubelet.CredentialProvider
	Pattern  string
	// Request is what the plugin read, Run what it did.
	Request []byte
	Run     Run
	// Response is what the plugin answered; the zero value if it failed.
	Response credentialprovider.CredentialProviderResponse
	// Credentials are those for the image, in the order in which the kubelet
	// pulls with them.
	Credentials []Credential
}

// RunPlugin executes the plugin for an image as the kubelet does, as the provider's
// configuration on the node says. A plugin that fails is not an error: the kubelet
// goes on without a credential, and Run tells.
func (n *Node) RunPlugin(ctx context.Context, image string) (Answer, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return Answer{}, err
	}
	image = named.Name() // no tag and no digest (pkg/kubelet/images/image_manager.go)
	providers, err := n.providers()
	if err != nil {
		return Answer{}, err
	}
	// The kubelet runs every provider that matches; here there is one.
	for _, provider := range providers {
		i := slices.IndexFunc(provider.MatchImages, func(p string) bool { return matches(p, image) })
		if i >= 0 {
			a := Answer{Provider: provider, Pattern: provider.MatchImages[i]}
			return a, a.execute(ctx, n, image)
		}
	}
	return Answer{}, nil
}

// providers returns those of the kubelet's configuration, none if it has
// none.
func (n *Node) providers() ([]kubelet.CredentialProvider, error) {
	data, err := input.ReadFile(n.Path(KubeletConfig), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var config kubelet.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(data, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", KubeletConfig, err)
	}
	return config.Providers, nil
}

// execute runs the plugin (k8s.io/kubernetes v1.36.3,
// pkg/credentialprovider/plugin/plugin.go, ExecPlugin). Only --root is added here.
func (a *Answer) execute(ctx context.Context, n *Node, image string) error {
	request, err := json.Marshal(credentialprovider.CredentialProviderRequest{
		TypeMeta: metav1.TypeMeta{Kind: "CredentialProviderRequest", APIVersion: a.Provider.APIVersion}, Image: image,
	})
	if err != nil {
		return err
	}
	var env []string
	for _, v := range a.Provider.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	a.Request = request
	a.Run, err = n.run(ctx, request, env, n.Path(BinDir, a.Provider.Name), append(slices.Clone(a.Provider.Args), "--root="+n.Root)...)
	if err != nil || a.Run.Code != 0 {
		return err
	}
	return a.decode(image)
}

// decode reads the plugin's answer as strictly as the kubelet does.
func (a *Answer) decode(image string) error {
	faults, err := strictjson.UnmarshalStrict([]byte(a.Run.Stdout), &a.Response)
	if err := errors.Join(append(faults, err)...); err != nil {
		// No word of the error: it may quote a password.
		return errors.New("the plugin's answer is not the JSON of a CredentialProviderResponse")
	}
	r := a.Response
	switch {
	case r.Kind != "CredentialProviderResponse" || r.APIVersion != a.Provider.APIVersion:
		return fmt.Errorf("the plugin answered a %s of %s; the kubelet wants a CredentialProviderResponse of %s", r.Kind, r.APIVersion, a.Provider.APIVersion)
	case !slices.Contains([]credentialprovider.PluginCacheKeyType{"Image", "Registry", "Global"}, r.CacheKeyType):
		return fmt.Errorf("the plugin answered cacheKeyType %q, which the kubelet does not know", r.CacheKeyType)
	}
	a.Credentials = keyring(r.Auth, image)
	return nil
}

// keyring returns the credentials of an image in the kubelet's order: those
// whose key matches, the keys in reverse order of their bytes
// (k8s.io/kubernetes v1.36.3, pkg/credentialprovider/keyring.go, Add, Lookup).
// Its last resort for Docker Hub, the key index.docker.io, is left out: the
// plugin never answers it.
func keyring(auth map[string]credentialprovider.AuthConfig, image string) []Credential {
	type entry struct {
		key string
		Credential
	}
	var ring []entry
	for key, c := range auth {
		if !strings.HasPrefix(key, "http://") && !strings.HasPrefix(key, "https://") {
			key = "https://" + key
		}
		u, err := url.Parse(key)
		if err != nil {
			continue
		}
		path := u.Path
		if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
			path = path[len("/v1"):]
		}
		if path == "/" {
			path = ""
		}
		ring = append(ring, entry{u.Host + path, Credential{c.Username, c.Password}})
	}
	slices.SortFunc(ring, func(a, b entry) int { return cmp.Compare(b.key, a.key) })
	var found []Credential
	for _, e := range ring {
		if matches(e.key, image) {
			found = append(found, e.Credential)
		}
	}
	return found
}

// matches reports whether the kubelet matches a pattern and an image.
func matches(pattern, image string) bool {
	p, err := mirror.KubeletPattern(pattern)
	return err == nil && p.Matches(image)
}
