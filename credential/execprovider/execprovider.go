// Package execprovider gets a credential from another kubelet credential
// provider, such as the one that a cloud ships, for the image at the registry
// that really serves it.
//
// It does what the kubelet would do: it runs the program, writes the request,
// and reads the answer by the kubelet's rules. How the provider gets its answer
// does not matter here. Start at [New].
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

// Options say which program to run, and how.
type Options struct {
	// Command is the provider's absolute path.
	Command string
	// Args are its arguments, without its name.
	Args []string
	// Env (NAME=value) is added to the environment of this process, as the
	// kubelet does with the env of a CredentialProviderConfig.
	Env []string
	// Now is the clock for a cacheDuration; nil means [time.Now].
	Now func() time.Time
	// Closed says that Args and Env may be secrets, whatever their names.
	Closed bool
}

// A Source runs one provider. It stores nothing between calls.
type Source struct{ options *Options }

var _ credential.Source = (*Source)(nil)

// New returns the source for a provider. It runs nothing, and the program need
// not exist yet. The command must be an absolute path: the kubelet does not
// search PATH for a provider either.
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

// Format implements [fmt.Formatter]. It prints the program, but not its
// environment, which may hold a secret.
func (s Source) Format(f fmt.State, _ rune) {
	if s.options == nil {
		fmt.Fprint(f, "exec")
		return
	}
	fmt.Fprintf(f, "exec %q", s.options.Command)
}

// Credential runs the provider for query.Image, and returns the credential that
// the kubelet would try first for it (Kubernetes v1.37.0,
// pkg/credentialprovider/plugin/plugin.go and keyring.go). The credential
// expires when the kubelet would ask again. If the provider asks for no
// caching, or leaves that to a default, the expiry is unknown. If the
// provider's entry has neither username nor password, the pull is anonymous.
//
// For Docker Hub the image is one of docker.io, as the kubelet names it. When
// ctx ends, the provider is killed. Use a ctx with a deadline: the kubelet
// kills its plugin after a minute (plugin.go, ExecPlugin).
func (s *Source) Credential(ctx context.Context, query credential.Query) (credential.Credential, error) {
	c, _, err := s.Scoped(ctx, query)
	return c, err
}

// Scoped is [Source.Credential], and also reports whether the answer is the
// same for every image of the registry: if the provider says so, and no key of
// its answer is for a part of the registry.
func (s *Source) Scoped(ctx context.Context, query credential.Query) (c credential.Credential, whole bool, err error) {
	image := hubImage(query.Image)
	request, err := credential.Request{
		Image:                     image,
		ServiceAccountToken:       query.ServiceAccountToken,
		ServiceAccountAnnotations: query.ServiceAccountAnnotations,
	}.Encode()
	if err != nil {
		return credential.Credential{}, false, err
	}
	data, err := child.Program{
		Path:    s.options.Command,
		Args:    s.options.Args,
		Env:     s.options.Env,
		Stdin:   request,
		Secrets: s.secrets(query),
	}.Run(ctx)
	if err != nil {
		return credential.Credential{}, false, fmt.Errorf("credential provider %w", err)
	}
	c, whole, err = s.pick(data, image, query.Plain)
	if err != nil {
		return credential.Credential{}, false, fmt.Errorf("credential provider %q, asked for %q: %w", s.options.Command, image, err)
	}
	return c, whole, nil
}

// pick takes the credential for an image out of a provider's answer.
func (s *Source) pick(data []byte, image string, plain bool) (c credential.Credential, whole bool, err error) {
	response, err := credential.DecodeResponse(data)
	if err != nil {
		return credential.Credential{}, false, err
	}
	if len(response.Auth) == 0 {
		return credential.Credential{}, false, errors.New("it has no credential for that image; check that the identity it uses may pull there")
	}
	c, ok := credential.Lookup(response.Auth, image, plain)
	if !ok {
		return credential.Credential{}, false, errors.New("none of the keys in its answer matches that image; check that it is a provider for that registry")
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

// secrets returns what the provider gets and may repeat in a complaint.
func (s *Source) secrets(query credential.Query) []credential.Secret {
	list := []credential.Secret{query.ServiceAccountToken}
	for _, env := range s.options.Env {
		if name, value, _ := strings.Cut(env, "="); s.options.Closed || isSecretName(name) {
			list = append(list, credential.Secret(value))
		}
	}
	for _, arg := range s.options.Args {
		if name, value, ok := strings.Cut(arg, "="); ok && (s.options.Closed || isSecretName(name)) {
			list = append(list, credential.Secret(value))
		}
		if s.options.Closed {
			list = append(list, credential.Secret(arg))
		}
	}
	return list
}

// isSecretName reports whether an environment variable holds a secret by its
// name. Other values, such as a region, are worth reading.
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
