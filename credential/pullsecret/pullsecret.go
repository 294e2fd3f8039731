// Package pullsecret gets a pod's own logins for a registry: those in the pull
// secrets that the pod names, as they match the registry that really serves the
// image.
//
// It asks the Kubernetes API as the node, whose kubeconfig it reads, and only for
// one pod and for the secrets that this pod names. So it can reach what the
// kubelet of this node can reach, and needs no rule of its own. The pod's token
// only says which pod pulls; the API does not accept it. Nothing is kept.
//
// It does not know whether the registry may be given a login: package route
// decides that before. Start at [New].
package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// DefaultTimeout is how long all requests to the API may take together, unless
// [Options] say otherwise.
const DefaultTimeout = 5 * time.Second

// mostSecrets is how many of a pod's pull secrets are read.
const mostSecrets = 16

// mostLogins is how many logins a pod gets: each is a pull of its own to the kubelet, and
// some registries lock out who tries many. With those of a list around them, they keep
// their order ([credential.MostInOrder]).
const mostLogins = 32

// usual are the places of the kubelet's kubeconfig, in the order in which they
// are tried: of kubeadm; of AKS, EKS and GKE; of RKE2, k3s and MicroK8s.
var usual = [...]string{
	"/etc/kubernetes/kubelet.conf",
	"/var/lib/kubelet/kubeconfig",
	"/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
	"/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
	"/var/snap/microk8s/current/credentials/kubelet.config",
}

// Options say how to reach the API server.
type Options struct {
	// Kubeconfig is the path of the node's kubeconfig; "" means the first of the
	// usual places with a file.
	Kubeconfig string
	// Audience is the audience that the pod's token must have.
	Audience string
	// Timeout limits all requests together; 0 means [DefaultTimeout].
	Timeout time.Duration
	// ReadFile reads a file of the node; nil means [input.ReadFile]. Its error is
	// one line and names the file.
	ReadFile func(ctx context.Context, path string) ([]byte, error)
	// Program returns where a program of the node is; nil means that it is where
	// its path says.
	Program func(path string) (string, error)
	// Now is the clock for what expires; nil means [time.Now].
	Now func() time.Time
	// RetryDelay is the pause before a refused request is repeated; 0 means
	// 250 ms.
	RetryDelay time.Duration
}

// A Source gets pods' logins. It stores nothing between calls.
type Source struct{ options *Options }

var _ credential.Lister = (*Source)(nil)

// New returns the source for a node. It reads nothing yet.
func New(o Options) *Source {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.ReadFile == nil {
		o.ReadFile = func(_ context.Context, path string) ([]byte, error) { return input.ReadFile(path, 0) }
	}
	if o.Program == nil {
		o.Program = func(path string) (string, error) { return path, nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RetryDelay == 0 {
		o.RetryDelay = 250 * time.Millisecond
	}
	return &Source{&o}
}

// Credential returns the first of [Source.Credentials], the zero one if there are
// none.
func (s *Source) Credential(ctx context.Context, query credential.Query) (credential.Credential, error) {
	list, err := s.Credentials(ctx, query)
	if len(list) == 0 {
		return credential.Credential{}, err
	}
	return list[0], nil
}

// Credentials returns all logins of the pod for query.Image at query.Registry: the
// secrets in the pod's order, and in each the entry with the longest path first.
// A pod without one is not an error, and neither is a secret that cannot be used: the
// function of [WithNote] gets a line that says so. It is an error if the API
// server cannot be asked.
func (s *Source) Credentials(ctx context.Context, query credential.Query) ([]credential.Credential, error) {
	r := report{query: query}
	defer func() { r.tell(ctx) }()
	if r.isDirect() {
		r.add("the kubelet itself offers the pod's pull secrets to %s", query.Registry)
		return nil, nil
	}
	who, err := parseToken(query.ServiceAccountToken, s.options.Audience, s.options.Now())
	if err != nil {
		return nil, err
	}
	r.pod = who.namespace + "/" + who.pod
	limited, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	list, err := s.ask(limited, who, &r)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w (given up after %s, by timeout of the credential)", err, s.options.Timeout)
	}
	return list, err
}

// ask asks the API for the pod, and for its secrets.
func (s *Source) ask(ctx context.Context, who pod, r *report) ([]credential.Credential, error) {
	api, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer api.close()
	names, err := api.secretsOf(ctx, who)
	if _, is := errors.AsType[*unavailable](err); is {
		r.add("%v", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(names) > mostSecrets {
		r.add("it names %d pull secrets, and only the first %d are read", len(names), mostSecrets)
		names = names[:mostSecrets]
	}
	var list []credential.Credential
	for _, name := range names {
		logins, err := api.secret(ctx, who.namespace, name)
		if _, is := errors.AsType[*unavailable](err); is {
			r.add("secret %q: %v", name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("secret %q of pod %s: %w", name, r.pod, err)
		}
		list = append(list, r.take(name, logins)...)
	}
	if len(list) > mostLogins {
		r.add("it has %d logins for %s, and only the first %d are used", len(list), r.query.Registry, mostLogins)
		list = list[:mostLogins]
	}
	if len(list) == 0 {
		r.notes = append([]string{fmt.Sprintf("no pull secret for %s", r.query.Registry)}, r.notes...)
	}
	return list, nil
}

// kubeconfig finds and reads the node's kubeconfig.
func (s *Source) kubeconfig(ctx context.Context) (*kubeconfig, error) {
	paths := usual[:]
	if s.options.Kubeconfig != "" {
		paths = []string{s.options.Kubeconfig}
	}
	for _, path := range paths {
		data, err := s.options.ReadFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the node's kubeconfig: %w", err)
		}
		config, err := parseKubeconfig(path, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return config, nil
	}
	return nil, fmt.Errorf("the node's kubeconfig is not at %s; write its path as kubeconfig of the credential", strings.Join(paths, ", "))
}

// A report collects what is worth logging of one call.
type report struct {
	query credential.Query
	pod   string // namespace/name
	notes []string
}

func (r *report) add(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// tell gives the report to the function of [WithNote].
func (r *report) tell(ctx context.Context) {
	note, _ := ctx.Value(noteKey{}).(func(string))
	if note == nil || len(r.notes) == 0 {
		return
	}
	text := strings.Join(r.notes, "; ")
	if r.pod != "" {
		text = "pod " + r.pod + ": " + text
	}
	note(text)
}

// take returns a secret's logins for the query. It reports those that cannot be
// used, and a login for the image's own name: the kubelet offers that one too, to
// every registry that containerd asks, and before all others.
func (r *report) take(name string, secret *dockerconfig.Source) []credential.Credential {
	list, faults := secret.Logins(r.query)
	for _, fault := range faults {
		r.add("secret %q: %v", name, fault)
	}
	if len(list) > 0 {
		r.add("login for %s in secret %q", r.query.Registry, name)
	}
	source, err := mirror.ParseImage(r.query.Asked)
	if err != nil {
		return list
	}
	host, err := mirror.ParseHost(source.Host())
	if err != nil {
		return list
	}
	if own, _ := secret.Logins(credential.Query{Registry: host, Image: r.query.Asked}); len(own) > 0 {
		r.add("secret %q has a login for %s, which the kubelet offers to the mirror first", name, host)
	}
	return list
}

// isDirect reports whether the image itself names what the registry serves.
func (r *report) isDirect() bool {
	image, err := mirror.ParseImage(r.query.Asked)
	if err != nil {
		return false
	}
	own, err := mirror.ParseTarget(image.Host())
	return err == nil && own.Host() == r.query.Registry && own.Host().String()+"/"+image.Repository() == r.query.Image
}

type noteKey struct{}

// WithNote returns a context with which [Source.Credentials] calls note once, if
// there is something to say: one line, which names the pod and its secrets. These
// names are the tenants' data.
func WithNote(ctx context.Context, note func(text string)) context.Context {
	return context.WithValue(ctx, noteKey{}, note)
}
