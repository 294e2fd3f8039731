// Package execprovider gets a credential from another kubelet credential
// provider: the one that a cloud ships, asked for the image at the registry
// that really serves it.
//
// It stands where the kubelet would: it runs the program, writes the request,
// and takes the answer by the kubelet's rules. It refuses to know what the
// provider does to find its answer. Start at [New].
package execprovider

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/internal/child"
)

// Options say which program to ask, and how.
type Options struct {
	// Command is the provider's absolute path.
	Command string
	// Args are its arguments, without its name.
	Args []string
	// Env (NAME=value) is added to the environment of this process, as the
	// kubelet adds the env of a CredentialProviderConfig.
	Env []string
	// Now is the clock by which a cacheDuration counts; nil means time.Now.
	Now func() time.Time
}

// A Source asks one provider. It keeps nothing from one call to the next.
type Source struct{ options *Options }

var _ credential.Source = (*Source)(nil)

// New returns the source that asks a provider. Nothing is run yet, and the
// program need not be there yet. The command is an absolute path, for the
// kubelet's too is not looked for along PATH.
func New(o Options) (*Source, error) {
	if !filepath.IsAbs(o.Command) {
		return nil, fmt.Errorf("command %q is not an absolute path; write one, since PATH is not searched", o.Command)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Args, o.Env = slices.Clone(o.Args), slices.Clone(o.Env)
	return &Source{&o}, nil
}

// Format implements [fmt.Formatter]: it prints the program, and not its
// environment, which may hold a secret.
func (s Source) Format(f fmt.State, _ rune) {
	if s.options == nil {
		fmt.Fprint(f, "exec")
		return
	}
	fmt.Fprintf(f, "exec %q", s.options.Command)
}

// Credential runs the provider for ask.Image, and returns the credential that
// the kubelet would try first for it (Kubernetes v1.37.0,
// pkg/credentialprovider/plugin/plugin.go and keyring.go). It expires when the
// kubelet would ask again; where the provider asks for no caching, or leaves it
// to a default, that is not known. An entry with neither username nor password
// is the provider's word that the pull is to be anonymous.
//
// Docker Hub is asked for as docker.io, the name that the kubelet uses. When
// ctx ends the provider is killed; give it one with a deadline, since the
// kubelet kills its plugin after a minute (plugin.go, ExecPlugin).
func (s *Source) Credential(ctx context.Context, ask credential.Ask) (credential.Credential, error) {
	c, _, err := s.Scoped(ctx, ask)
	return c, err
}

// Scoped is Credential, and reports besides whether the provider's answer is
// the same for every image of the registry: it says so itself, and nothing in
// it is for a part of the registry.
func (s *Source) Scoped(ctx context.Context, ask credential.Ask) (c credential.Credential, whole bool, err error) {
	image := hubImage(ask.Image)
	request, err := credential.Request{
		Image:                     image,
		ServiceAccountToken:       ask.ServiceAccountToken,
		ServiceAccountAnnotations: ask.ServiceAccountAnnotations,
	}.Encode()
	if err != nil {
		return credential.Credential{}, false, err
	}
	data, err := child.Program{
		Path:    s.options.Command,
		Args:    s.options.Args,
		Env:     s.options.Env,
		Stdin:   request,
		Secrets: s.secrets(ask),
	}.Run(ctx)
	if err != nil {
		return credential.Credential{}, false, fmt.Errorf("credential provider %w", err)
	}
	c, whole, err = s.pick(data, image)
	if err != nil {
		return credential.Credential{}, false, fmt.Errorf("credential provider %q, asked for %q: %w", s.options.Command, image, err)
	}
	return c, whole, nil
}

// pick takes the credential for an image out of a provider's answer.
func (s *Source) pick(data []byte, image string) (c credential.Credential, whole bool, err error) {
	response, err := credential.DecodeResponse(data)
	if err != nil {
		return credential.Credential{}, false, err
	}
	if len(response.Auth) == 0 {
		return credential.Credential{}, false, errors.New("it has no credential for that image; see that the identity it uses may pull there")
	}
	c, ok := credential.Lookup(response.Auth, image)
	if !ok {
		return credential.Credential{}, false, errors.New("none of the keys in its answer matches that image; see that it is a provider for that registry")
	}
	if response.CacheFor > 0 && !c.Anonymous() {
		c.Expires = s.options.Now().Add(response.CacheFor)
	}
	whole = response.CacheKey != credential.CacheByImage
	for key := range response.Auth {
		// A key with a path, or with a scheme, may be for a part.
		whole = whole && !strings.Contains(key, "/")
	}
	return c, whole, nil
}

// secrets returns what the provider is given and may repeat in a complaint.
func (s *Source) secrets(ask credential.Ask) []credential.Secret {
	list := []credential.Secret{ask.ServiceAccountToken}
	for _, env := range s.options.Env {
		if name, value, _ := strings.Cut(env, "="); isSecretName(name) {
			list = append(list, credential.Secret(value))
		}
	}
	return list
}

// isSecretName reports whether an environment variable holds a secret by its
// name. The values of others, such as a region, are worth reading.
func isSecretName(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc([]string{"SECRET", "TOKEN", "PASS", "KEY", "CREDENTIAL"}, func(part string) bool {
		return strings.Contains(name, part)
	})
}

// hubImage returns the image with the name that the kubelet has for Docker Hub
// (github.com/distribution/reference v0.6.0, normalize.go), instead of its
// server's.
func hubImage(image string) string {
	if rest, ok := strings.CutPrefix(image, "registry-1.docker.io/"); ok {
		return "docker.io/" + rest
	}
	return image
}
