package mirror

import (
	"strconv"
	"strings"
	"time"
)

// DefaultAudience is the audience of the pod's token that a [PullSecret] credential
// needs, unless the map sets another. The token only tells the plugin which pod pulls.
const DefaultAudience = "mirrorcred"

// mostTimeout is the longest timeout of a credential: the plugin has 45 s for all.
const mostTimeout = 30 * time.Second

// firstWithTokens is the first minor version of the kubelet that passes tokens.
const firstWithTokens = 34

// pullSecret reads a credential from the pod's own pull secrets.
func (r *reader) pullSecret(c *Credential) {
	audience := r.text("audience")
	if r.find("audience") == nil {
		audience = DefaultAudience
	}
	if isOfAPI(audience) {
		r.add(r.at("audience"), "audience %q of %s is the API server's own, so the pod's token would be a key to it; remove it, and %q is used", audience, r.what, DefaultAudience)
	}
	if c.Token = r.token(audience); c.Token != nil {
		c.Token.Required = true // without it, no pod is known
	}
	c.File = r.path("kubeconfig", "")
	text := r.text("timeout")
	if text == "" {
		return
	}
	var err error
	if c.Timeout, err = time.ParseDuration(text); err != nil || c.Timeout < 100*time.Millisecond || c.Timeout > mostTimeout {
		r.add(r.at("timeout"), "timeout of %s: %q is not a time from 100ms to %s; write it like \"5s\"", r.what, text, mostTimeout)
	}
}

// isOfAPI reports whether an audience is that of the cluster's API server, as
// kube-apiserver has it by default and as it is known in a cluster.
func isOfAPI(audience string) bool {
	name := strings.TrimSuffix(strings.ToLower(audience), "/")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://")
	name = strings.TrimSuffix(name, ":443")
	return name == "kubernetes.default.svc" || strings.HasPrefix(name, "kubernetes.default.svc.")
}

// checkKubelet refuses credentials of pods' own secrets for a kubelet that passes no
// tokens of pods.
func (p *parser) checkKubelet() {
	v := p.m.Kubelet.Version
	major, rest, _ := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if major != "1" || err != nil || n >= firstWithTokens {
		return
	}
	for _, c := range p.m.Credentials {
		if c.Kind == PullSecret {
			p.add(p.credentialLines[c.Name], "[credential.%s] needs kubelet 1.%d or later, and version of [kubelet] says %q; update the kubelet, or remove the credential", c.Name, firstWithTokens, v)
		}
	}
}
