package mirror

import (
	"slices"
	"strings"
)

// A Token says which token of a pod's service account a credential needs. The
// kubelet passes it on, from version 1.34 (k8s.io/kubelet v0.37.2,
// config/v1/types.go, ServiceAccountTokenAttributes).
type Token struct {
	// Audience is the audience of the token.
	Audience string `json:"audience"`
	// Required says that a pod without a service account gets no credential.
	Required bool `json:"required,omitempty"`
	// Annotations are keys of the service account's annotations that are passed
	// on if present. Without RequiredAnnotations there is no credential.
	Annotations         []string `json:"annotations,omitempty"`
	RequiredAnnotations []string `json:"required_annotations,omitempty"`
}

// A Binding is an AKS identity binding: an endpoint of the cluster that
// exchanges a pod's token for one of Entra ID.
type Binding struct {
	Name      string `json:"name"`       // host name of the endpoint at the API server
	APIServer string `json:"api_server"` // host or address, with or without a port
	CA        string `json:"ca"`         // path of the API server's CA, as PEM
}

// TakesToken reports whether the pod's token is needed to get the credential.
// direct says that the image itself names the registry: at a mirror, an Azure
// credential is always the node's.
func (c Credential) TakesToken(direct bool) bool {
	return c.Token != nil && (direct || c.Kind != Azure)
}

const (
	// bindingAudience is the audience of tokens for AKS identity bindings
	// (learn.microsoft.com/azure/aks/identity-bindings-concepts).
	bindingAudience = "api://AKSIdentityBinding"
	defaultCA       = "/etc/kubernetes/certs/ca.crt"
)

// azureAnnotations are the annotations with the Azure identity of a service
// account's pods.
var azureAnnotations = []string{"kubernetes.azure.com/acr-client-id", "kubernetes.azure.com/acr-tenant-id"}

// azurePods reads the pod settings of an Azure credential.
func (r *reader) azurePods(c *Credential) {
	c.ClientID, c.TenantID = r.text("client_id"), r.text("tenant_id")
	c.Binding = r.binding()
	audience := r.text("audience")
	if c.Binding != nil && r.find("audience") == nil {
		audience = bindingAudience
	}
	c.Token = r.token(audience)
	if c.Token != nil {
		c.Token.Annotations = azureAnnotations
		return
	}
	for _, key := range []string{"client_id", "tenant_id"} {
		if r.find(key) != nil && r.find("audience") == nil {
			r.add(r.at(key), "%s of %s is for pods, but their tokens are not requested; write audience = \"api://AzureADTokenExchange\", or remove %s, as azure.json holds the identity of the node", key, r.what, key)
		}
	}
}

// execPods reads the pod settings of an exec credential.
func (r *reader) execPods(c *Credential) {
	annotations, required := r.annotations("annotations"), r.annotations("required_annotations")
	if c.Token = r.token(r.text("audience")); c.Token == nil {
		for _, key := range []string{"annotations", "required_annotations"} {
			if r.find(key) != nil && r.find("audience") == nil {
				r.add(r.at(key), "%s of %s need a pod's token, but none is requested; write its audience, or remove %s", key, r.what, key)
			}
		}
		return
	}
	for _, key := range required {
		if slices.Contains(annotations, key) {
			r.add(r.at("required_annotations"), "annotation %q of %s is both required and optional; write it once", key, r.what)
		}
	}
	if len(required) > 0 && !c.Token.Required {
		r.add(r.at("required_annotations"), "required_annotations of %s need a service account; write require = true", r.what)
	}
	c.Token.Annotations, c.Token.RequiredAnnotations = annotations, required
}

// token returns the requested token, nil if none is requested.
func (r *reader) token(audience string) *Token {
	required := r.flag("require")
	switch {
	case strings.ContainsFunc(audience, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		r.add(r.at("audience"), "audience %q of %s has spaces or control characters; write it as the registry expects it", audience, r.what)
	case audience != "":
		return &Token{Audience: audience, Required: required}
	case required && r.find("audience") == nil:
		r.add(r.at("require"), "require of %s needs a pod's token, but none is requested; write its audience, or remove require", r.what)
	}
	return nil
}

// isAnnotationKey reports whether s is the key of an annotation: a name, maybe
// behind a DNS name (k8s.io/apimachinery v0.37.2, pkg/util/validation,
// IsQualifiedName). Not a regular expression: the plugin would compile it
// whenever it starts.
func isAnnotationKey(s string) bool {
	prefix, name, ok := strings.Cut(s, "/")
	if !ok {
		name = prefix
	} else if host, err := ParseHost(prefix); err != nil || host.Port() != "" || host.String() != prefix || strings.HasPrefix(prefix, "[") {
		return false
	}
	rest := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
	return rest == "" && name == strings.Trim(name, "-_.") && name != "" && len(name) <= 63
}

func (r *reader) annotations(key string) []string {
	var list []string
	for _, v := range r.texts(key, false) {
		switch {
		case !isAnnotationKey(v.text):
			r.add(v.line, "%s of %s: %q is not the key of an annotation; write it like \"example.com/client-id\"", key, r.what, v.text)
		case slices.Contains(list, v.text):
			r.add(v.line, "%s of %s: %q is there twice; remove one", key, r.what, v.text)
		default:
			list = append(list, v.text)
		}
	}
	return list
}

// binding reads an identity binding, nil for none.
func (r *reader) binding() *Binding {
	t := r.sub("identity_binding")
	if t == nil {
		return nil
	}
	b := r.faults.reader(t, "identity_binding of "+r.what)
	binding := &Binding{
		Name:      b.needed("sni_name", "the host name of the binding's endpoint"),
		APIServer: b.needed("api_server", "the host name or IP address of the API server"),
		CA:        b.path("ca", defaultCA),
	}
	if host, err := ParseHost(binding.Name); binding.Name != "" && (err != nil || host.Port() != "") {
		b.add(b.at("sni_name"), "sni_name %q is not a host name; write it without scheme and port", binding.Name)
	}
	if err := errMore("api_server", binding.APIServer); err != nil {
		b.add(b.at("api_server"), "%v", err)
	}
	b.rest(nil)
	return binding
}

// needed is [reader.text] for a key that must be there.
func (r *reader) needed(key, what string) string {
	if r.find(key) == nil {
		r.need(key, "%s has no %s; write %s", r.what, key, what)
	}
	return r.text(key)
}

// podToken reads a credential that is the pod's token itself.
func (r *reader) podToken(c *Credential) {
	c.Username = r.needed("username", "the user name that the registry expects with a token")
	audience := r.needed("audience", "the audience that the registry expects")
	if c.Token = r.token(audience); c.Token != nil {
		c.Token.Required = true // there is nothing else to answer with
	}
}
