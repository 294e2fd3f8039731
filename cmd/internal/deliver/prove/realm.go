package prove

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	neturl "net/url"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// bearer returns the parameters of the first challenge for a token
// (core/remotes/docker/auth/parse.go, v2.4.2: containerd tries Bearer before
// Basic).
func bearer(h http.Header) (map[string]string, bool) {
	for _, text := range h.Values("Www-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		if strings.EqualFold(scheme, "bearer") {
			return parameters(rest), true
		}
	}
	return nil, false
}

// parameters reads name="value" pairs.
func parameters(text string) map[string]string {
	list := map[string]string{}
	for text = strings.TrimLeft(text, " ,"); text != ""; text = strings.TrimLeft(text, " ,") {
		name, after, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			value, text, _ = strings.Cut(after[1:], `"`)
		} else {
			value, text, _ = strings.Cut(after, ",")
		}
		list[strings.ToLower(strings.TrimSpace(name))] = value
	}
	return list
}

// DoesNotGet is what a refusal says about a containerd before 2.1.
const DoesNotGet = "does not get"

// realm returns the address at which containerd would get a token, or a refusal if the
// header must not go there.
//
// Before 2.1, containerd sends the header to no token service; later it sends it to
// whichever the registry names (core/remotes/docker/authorizer.go).
func (q question) realm(a answer, c map[string]string) (string, error) {
	realm, err := neturl.Parse(c["realm"])
	if err != nil || realm.Host == "" || realm.User != nil {
		return "", q.refuse(a, "it names a token service that is not a URL; check that it is a registry")
	}
	own := q.Endpoint.Host
	switch {
	case q.version == (hosts.Version{}):
		return "", q.refuse(a, "it wants a token for the credential, which containerd gets from 2.1 on, and the version of containerd is not known; write version under [containerd] in the map")
	case q.version.Before(2, 1, 0):
		return "", q.refuse(a, fmt.Sprintf("it wants a token for the credential, which containerd %s "+DoesNotGet+"; update containerd to 2.1 or later, or leave deliver out there", q.version))
	case realm.Scheme != "https" || q.Endpoint.Scheme != "https":
		return "", q.elsewhere(a, "its token service is reached without TLS; correct its address in the registry's configuration")
	case !sameHost(realm.Host, own) && q.TokenHost == "":
		return "", q.elsewhere(a, fmt.Sprintf("its token service is at %.255s, another host; if that is the registry's own, write token_host = %[1]q under [registry.%q]", realm.Host, own))
	case !sameHost(realm.Host, own) && !sameHost(realm.Host, q.TokenHost):
		return "", q.elsewhere(a, fmt.Sprintf("its token service is at %.255s, which is not token_host = %q of the map; correct one of them", realm.Host, q.TokenHost))
	}
	query := realm.Query()
	if service := c["service"]; service != "" {
		query.Set("service", service)
	}
	for scope := range strings.FieldsSeq(c["scope"]) {
		query.Add("scope", scope)
	}
	realm.RawQuery = query.Encode()
	return realm.String(), nil
}

// strayRealm returns a refusal if a registry that accepts the header at /v2/ sends its
// clients to another host's token service for images: a proxy may pass the challenge of
// the registry behind it through, and containerd would show the header there. The image
// need not exist. No answer, or any other one, says nothing.
func (q question) strayRealm(ctx context.Context) error {
	image := q.Endpoint.Scheme + "://" + q.Endpoint.Host + strings.TrimSuffix(q.Endpoint.Path, "/") + "/mirrorcred/manifests/latest"
	a, err := q.ask(ctx, http.MethodHead, image, q.authorization)
	if err != nil || a.status != http.StatusUnauthorized {
		return nil
	}
	c, ok := bearer(a.header)
	if !ok {
		return nil
	}
	realm, err := neturl.Parse(c["realm"])
	switch {
	case err != nil || realm.Host == "", q.version != (hosts.Version{}) && q.version.Before(2, 1, 0):
		return nil // containerd sends nothing there
	case !q.isOwn(realm.Host):
		return q.elsewhere(a, fmt.Sprintf("it accepts the credential, but for images it names the token service at %.255s, another host, to which containerd would send the credential; have the registry answer for itself, or leave deliver out there", realm.Host))
	case realm.Scheme != "https":
		return q.elsewhere(a, "it accepts the credential, but for images it names a token service that is reached without TLS; correct its address in the registry's configuration")
	}
	return nil
}

// elsewhere is [question.refuse] for a token service that must not see the header.
func (q question) elsewhere(a answer, text string) *Refusal {
	r := q.refuse(a, text)
	r.Elsewhere = true
	return r
}

// isOwn reports whether a token service's host may see the header.
func (q question) isOwn(host string) bool {
	return sameHost(host, q.Endpoint.Host) || q.TokenHost != "" && sameHost(host, q.TokenHost)
}

// sameHost reports whether two hosts are one with https.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, ":443"), strings.TrimSuffix(b, ":443"))
}

// unreached returns why a request got no answer, without the URL that net/http puts in
// front.
func unreached(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var u *neturl.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("it cannot be asked: %w; check that this node reaches it", err)
}
