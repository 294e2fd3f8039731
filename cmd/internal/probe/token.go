package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A challenge is one way to log in that a registry names.
type challenge struct {
	scheme string // in lower case
	params map[string]string
}

// challenges reads the Www-Authenticate headers of an answer, of which containerd
// takes one challenge each (core/remotes/docker/auth/parse.go, v2.4.2).
func challenges(h http.Header) []challenge {
	var list []challenge
	for _, text := range h.Values("Www-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		c := challenge{strings.ToLower(scheme), map[string]string{}}
		for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
			name, after, ok := strings.Cut(rest, "=")
			if !ok {
				break
			}
			value := ""
			if strings.HasPrefix(after, `"`) {
				value, rest, _ = strings.Cut(after[1:], `"`)
			} else {
				value, rest, _ = strings.Cut(after, ",")
			}
			c.params[strings.ToLower(strings.TrimSpace(name))] = value
		}
		list = append(list, c)
	}
	return list
}

func pick(list []challenge, scheme string) (challenge, bool) {
	i := slices.IndexFunc(list, func(c challenge) bool { return c.scheme == scheme })
	if i < 0 {
		return challenge{}, false
	}
	return list[i], true
}

// scopes returns the scopes of the token that containerd requests: the repository as the
// image names it, and the scope in the challenge (core/remotes/docker/scope.go and
// authorizer.go, v2.4.2). For a mirror with a path these are two.
func (q question) scopes(c challenge) []string {
	var list []string
	if q.known {
		list = append(list, "repository:"+q.image.Repository()+":pull")
	}
	for s := range strings.FieldsSeq(c.params["scope"]) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// A refusal says why there is no token. With a name, it is a complete finding.
type refusal struct {
	status             int
	name, text, repair string
}

// token gets a token as containerd does: by POST with the credential in the form, and
// by GET if the service does not know that (core/remotes/docker/auth/fetch.go,
// v2.4.2). Without a credential it is a GET.
func (q question) token(ctx context.Context, c challenge, scopes []string) (string, *refusal, error) {
	realm, err := neturl.Parse(c.params["realm"])
	if err != nil || realm.Host == "" {
		return "", &refusal{name: doctor.ProbeNotARegistry, text: "it names no token service that is a URL", repair: "check the target in the map: is this a registry?"}, nil
	}
	if f := q.realmRefused(realm); f != nil {
		return "", f, nil
	}
	if !q.login.Anonymous() {
		form := neturl.Values{
			"grant_type": {"password"}, "service": {c.params["service"]}, "client_id": {"containerd-client"},
			"username": {q.login.Username}, "password": {q.login.Password.Reveal()},
		}
		if len(scopes) > 0 {
			form.Set("scope", strings.Join(scopes, " "))
		}
		r, err := http.NewRequest(http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return "", nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		a, err := q.do(ctx, r)
		if err != nil {
			return "", nil, err
		}
		if !slices.Contains([]int{400, 401, 404, 405}, a.status) {
			return tokenOf(a)
		}
	}
	query := realm.Query()
	if service := c.params["service"]; service != "" {
		query.Set("service", service)
	}
	for _, s := range scopes {
		query.Add("scope", s)
	}
	realm.RawQuery = query.Encode()
	r, err := http.NewRequest(http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", nil, err
	}
	if !q.login.Anonymous() {
		r.SetBasicAuth(q.login.Username, q.login.Password.Reveal())
	} else if q.holdsCredential() { // containerd sends the headers along from 2.1 on
		r.Header = http.Header(q.endpoint.Header).Clone()
	}
	a, err := q.do(ctx, r)
	if err != nil {
		return "", nil, err
	}
	return tokenOf(a)
}

// realmRefused refuses a token service that should not see the credential. containerd
// would send it there; the probe does not.
func (q question) realmRefused(realm *neturl.URL) *refusal {
	source := q.image.Host()
	host := realm.Host
	switch {
	case realm.Scheme == "http" && q.endpoint.Scheme == "https":
		return &refusal{name: doctor.ProbeRealm, text: fmt.Sprintf("it sends logins to http://%s, which is not encrypted", host), repair: "correct the address of the token service in the registry's configuration"}
	case !strings.EqualFold(host, q.endpoint.Host) && (host == source || strings.HasSuffix(host, "."+source)):
		return &refusal{name: doctor.ProbeRealm, text: fmt.Sprintf("it sends logins to %s, which is the source's: containerd offers the credential there", host), repair: "use a mirror that logs in by itself, or have this one name its own token service"}
	case (!q.login.Anonymous() || q.holdsCredential()) && !q.isTokenHost(host) && !sameOwner(realm.Hostname(), q.endpoint.Host):
		return &refusal{name: doctor.ProbeRealm, text: fmt.Sprintf("it sends logins to %.100s, which is in another domain: containerd offers the credential there", oneLine(host)), repair: "ask the registry's owner if that is its token service; the credential was not sent there to find out"}
	}
	return nil
}

// isTokenHost reports whether the map names a host as the registry's token service.
func (q question) isTokenHost(host string) bool {
	return slices.ContainsFunc(q.mirror.Targets, func(t mirror.Target) bool {
		return t.TokenHost != "" && t.Host().String() == registryOf(q.endpoint) && strings.EqualFold(t.TokenHost, strings.TrimSuffix(host, ":443"))
	})
}

// sameOwner reports whether the token service of a registry belongs to the same owner:
// it is the same machine, or both are below one domain that someone has registered.
func sameOwner(realm, registry string) bool {
	registry = (&neturl.URL{Host: registry}).Hostname()
	if strings.EqualFold(realm, registry) {
		return true
	}
	a, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(realm))
	if err != nil || net.ParseIP(realm) != nil {
		return false
	}
	b, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(registry))
	return err == nil && a == b
}

func tokenOf(a answer) (string, *refusal, error) {
	if a.status != http.StatusOK {
		return "", &refusal{status: a.status}, nil
	}
	var body struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Token == "" && body.Access == "" {
		return "", nil, errNoToken // not the text, which may be a token
	}
	if body.Access != "" {
		return body.Access, nil, nil
	}
	return body.Token, nil, nil
}

// refused returns the finding about a token service that gives no token. Some (those of
// GitHub and Google) refuse a request because it also names the repository of the source;
// another request without that shows it.
func (q question) refused(ctx context.Context, c challenge, r refusal) []doctor.Finding {
	if r.name != "" {
		return q.finding(r.name, r.text, r.repair)
	}
	own := strings.Fields(c.params["scope"])
	if all := q.scopes(c); len(own) > 0 && len(all) > len(own) && r.status >= 400 && r.status < 500 && r.status != 429 {
		if token, _, err := q.token(ctx, c, own); err == nil && token != "" {
			return q.finding(doctor.ProbeScope, "its token service refuses a request that also names the source's repository, as containerd makes it for a mirror with a path",
				"use a target without a path, or a registry that allows it: containerd cannot pull this way")
		}
	}
	what := "its token service refuses the credential " + q.login.name
	switch {
	case r.status == 403:
		return q.finding(doctor.ProbeForbidden, what+" with 403", q.grant())
	case r.status == 429 || r.status >= 500:
		return q.judge(ctx, answer{status: r.status, header: http.Header{}}, "", "")
	}
	return q.unauthorized(fmt.Sprintf("%s with %d", what, r.status))
}
