package pullsecret

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/pullsecrettest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	audience = "mirrorcred"
	uid      = "11111111-2222-3333-4444-555555555555"
	target   = "harbor.corp:8443"
	image    = target + "/hub/library/nginx"
)

func query(t testing.TB, image string) credential.Query {
	t.Helper()
	name, _, _ := strings.Cut(image, "/")
	host, err := mirror.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	return credential.Query{
		Registry: host, Image: image, Asked: "docker.io/library/nginx",
		ServiceAccountToken: credential.Secret(pullsecrettest.Token("a", "web", uid, audience, time.Now().Add(time.Hour))),
	}
}

// newAPI starts an API server, and checks at the end that only single pods and
// secrets were asked for.
func newAPI(t *testing.T) (*pullsecrettest.API, Options) {
	t.Helper()
	api := pullsecrettest.New(t)
	t.Cleanup(func() {
		if strange := api.Strange(); len(strange) > 0 {
			t.Errorf("the API server was asked for %q; want single pods and secrets only", strange)
		}
	})
	return api, Options{
		Kubeconfig: pullsecrettest.Write(t, "kubelet.conf", api.Kubeconfig("")), Audience: audience,
		RetryDelay: time.Millisecond,
	}
}

// ask returns the usernames of a query's answer, and what was noted. It checks that no
// error and no note holds a secret.
func ask(t *testing.T, o Options, q credential.Query) (names []string, note string, err error) {
	t.Helper()
	ctx := WithNote(t.Context(), func(text string) { note = text })
	list, err := New(o).Credentials(ctx, q)
	for _, c := range list {
		names = append(names, c.Username)
		if c.Password.Reveal() != pullsecrettest.Canary+c.Username {
			t.Errorf("the password of %s is not its own", c.Username)
		}
	}
	if said := fmt.Sprint(note, err); strings.Contains(said, pullsecrettest.Canary) || strings.ContainsAny(said, "\n") {
		t.Errorf("a secret, or more than a line, in what is said: %s", said)
	}
	return names, note, err
}

// manyLogins are the names of as many logins as a pod may have.
var manyLogins = func() string {
	var names []string
	for i := range mostLogins {
		names = append(names, fmt.Sprint("t", i))
	}
	return strings.Join(names, " ")
}()

// TestCredentials checks which logins a pod gets at a mirror, and what is said.
func TestCredentials(t *testing.T) {
	const pod = "a/pods/web"
	for name, tt := range map[string]struct {
		set        func(a *pullsecrettest.API)
		want, note string
	}{
		"one": {func(a *pullsecrettest.API) { a.Pod("a", "web", uid, "pull"); a.Login("a", "pull", target+" t") }, "t", `pod a/web: login for harbor.corp:8443 in secret "pull"`},
		"in the pod's order, the longest path first": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "second", "first")
			a.Login("a", "first", target+" f")
			a.Login("a", "second", target+" s", target+"/hub sh", "*.corp:8443 sg", target+"/hu no", "harbor.corp no")
		}, "sh s sg f", ""},
		"the old type": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Secret("a", "pull", "kubernetes.io/dockercfg", ".dockercfg", `{"harbor.corp:8443":{"username":"old","password":"`+pullsecrettest.Canary+`old"}}`)
		}, "old", ""},
		"none named":      {func(a *pullsecrettest.API) { a.Pod("a", "web", uid) }, "", "pod a/web: no pull secret for harbor.corp:8443"},
		"an empty name":   {func(a *pullsecrettest.API) { a.Pod("a", "web", uid, "") }, "", "pod a/web: no pull secret for harbor.corp:8443"},
		"none that match": {func(a *pullsecrettest.API) { a.Pod("a", "web", uid, "pull"); a.Login("a", "pull", "quay.io t") }, "", "pod a/web: no pull secret for harbor.corp:8443"},
		"one of another namespace": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Login("b", "pull", target+" t")
		}, "", `no pull secret for harbor.corp:8443; secret "pull": it does not exist`},
		"the source's too": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Login("a", "pull", target+" t", "https://index.docker.io/v1/ hub")
		}, "t", `secret "pull" has a login for docker.io, which the kubelet offers to the mirror first`},
		"the source's only": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Login("a", "pull", "docker.io/library hub")
		}, "", `secret "pull" has a login for docker.io, which`},
		"unusable beside usable": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "gone", "opaque", "text", "broken", "../../b/secrets/x", "good")
			a.Secret("a", "opaque", "Opaque", "password", pullsecrettest.Canary)
			a.Secret("a", "text", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", pullsecrettest.Canary)
			a.Set("a/secrets/broken", `{"data":{".dockerconfigjson":"`+pullsecrettest.Canary+`"}}`)
			a.Login("a", "good", target+" t")
		}, "t", `pod a/web: secret "gone": it does not exist; secret "opaque": it is not of type kubernetes.io/dockerconfigjson; create it with "kubectl create secret docker-registry"; secret "text": its .dockerconfigjson is not a docker config.json; create it with "kubectl create secret docker-registry"; secret "broken": the API server's answer is not the JSON of such an object; check which server that is; secret "../../b/secrets/x": this cannot be the name of a secret; login for`},
		"an identity token": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Secret("a", "pull", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", `{"auths":{"harbor.corp:8443":{"identitytoken":"`+pullsecrettest.Canary+`"}}}`)
		}, "", `has an identitytoken, and the kubelet can hand on only a username and a password`},
		"too many": {func(a *pullsecrettest.API) {
			names := strings.Split(strings.Repeat("none,", mostSecrets)+"pull", ",")
			a.Pod("a", "web", uid, names...)
			a.Login("a", "none", "quay.io q")
			a.Login("a", "pull", target+" t")
		}, "", "it names 17 pull secrets, and only the first 16 are read"},
		"too many logins": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			logins := []string{target + " t0"}
			for i := range mostLogins {
				logins = append(logins, fmt.Sprintf("h%s.corp:8443 t%d", strings.Repeat("*", i+1), i+1))
			}
			a.Login("a", "pull", logins...)
		}, manyLogins, "it has 33 logins for harbor.corp:8443, and only the first 32 are used"},
		"refused once": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull")
			a.Login("a", "pull", target+" t")
			a.Refuse("a/secrets/pull", 403)
			a.Refuse(pod, 403)
		}, "t", ""},
		"refused twice": {func(a *pullsecrettest.API) {
			a.Pod("a", "web", uid, "pull", "more")
			a.Login("a", "pull", target+" t")
			a.Login("a", "more", target+" m")
			a.Refuse("a/secrets/pull", 403, 403)
		}, "m", `secret "pull": the API server does not show it to this node (status 403)`},
		"pod gone":     {func(a *pullsecrettest.API) { a.Login("a", "pull", target+" t") }, "", "pod a/web: it does not exist"},
		"pod refused":  {func(a *pullsecrettest.API) { a.Pod("a", "web", uid, "pull"); a.Refuse(pod, 403, 403) }, "", "pod a/web: the API server does not show it to this node"},
		"pod replaced": {func(a *pullsecrettest.API) { a.Pod("a", "web", "other", "pull"); a.Login("a", "pull", target+" t") }, "", "pod a/web: it was replaced by another pod of its name"},
	} {
		t.Run(name, func(t *testing.T) {
			api, o := newAPI(t)
			tt.set(api)
			names, note, err := ask(t, o, query(t, image))
			if got := strings.Join(names, " "); got != tt.want || err != nil {
				t.Errorf("Credentials = %q, %v; want %q", got, err, tt.want)
			}
			if !strings.Contains(note, tt.note) {
				t.Errorf("noted %q; want %q", note, tt.note)
			}
		})
	}
}

// TestRequests checks what the API server is asked for: the pod, and the secrets that
// it names, from the API server's cache.
func TestRequests(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "one", "two")
	api.Login("a", "one", target+" t")
	api.Login("a", "other", target+" o")
	ask(t, o, query(t, image))
	want := []string{"a/pods/web", "a/secrets/one?resourceVersion=0", "a/secrets/two?resourceVersion=0"}
	if got := api.Requests(); !slices.Equal(got, want) {
		t.Errorf("the API server was asked for %q; want %q", got, want)
	}
	ask(t, o, query(t, image))
	if got := api.Requests(); !slices.Equal(got, want) {
		t.Errorf("the second time, the API server was asked for %q; want %q: nothing is kept", got, want)
	}
}

// TestDirect checks that a registry which the image itself names gets nothing, and the
// API server no request: the kubelet matches pull secrets with that name by itself.
func TestDirect(t *testing.T) {
	for asked, registry := range map[string]string{
		"harbor.corp:8443/x":      "harbor.corp:8443",
		"docker.io/library/nginx": "registry-1.docker.io",
		"quay.io:443/x":           "quay.io",
	} {
		api, o := newAPI(t)
		api.Pod("a", "web", uid, "pull")
		api.Login("a", "pull", registry+" t")
		_, repository, _ := strings.Cut(asked, "/")
		q := query(t, registry+"/"+repository)
		q.Asked = asked
		names, note, err := ask(t, o, q)
		if len(names) > 0 || err != nil || !strings.Contains(note, "the kubelet itself offers") {
			t.Errorf("%s at %s = %q, %v (%s); want none", asked, registry, names, err, note)
		}
		if got := api.Requests(); len(got) > 0 {
			t.Errorf("%s at %s asks for %q; want nothing", asked, registry, got)
		}
	}
}

// TestRotated checks that a changed secret counts at once.
func TestRotated(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "pull")
	for _, user := range []string{"before", "after"} {
		api.Login("a", "pull", target+" "+user)
		if names, _, err := ask(t, o, query(t, image)); !slices.Equal(names, []string{user}) {
			t.Errorf("Credentials = %q, %v; want %q", names, err, user)
		}
	}
}

// TestNoAnswer checks the error for an API server that gives no answer, in which
// time, and that nothing is answered.
func TestNoAnswer(t *testing.T) {
	closed := httpsServer(t, nil)
	closed.Close()
	foreign := httpsServer(t, http.NotFoundHandler())
	for name, tt := range map[string]struct {
		set  func(a *pullsecrettest.API, o *Options)
		want string
	}{
		"slow":         {func(a *pullsecrettest.API, o *Options) { a.Delay(time.Minute); o.Timeout = 50 * time.Millisecond }, "gives no answer; check that it runs, and the node's network (given up after 50ms, by timeout of the credential)"},
		"down":         {func(a *pullsecrettest.API, o *Options) { a.Close() }, "refuses connections; check that it runs"},
		"another's CA": {func(a *pullsecrettest.API, o *Options) { o.Kubeconfig = at(t, a, foreign.URL, "") }, "has a certificate that is not trusted"},
		"another name": {func(a *pullsecrettest.API, o *Options) { o.Kubeconfig = at(t, a, a.URL, "tls-server-name: elsewhere") }, "has a certificate that is not trusted"},
		"no such host": {func(a *pullsecrettest.API, o *Options) { o.Kubeconfig = at(t, a, "https://api.invalid:6443", "") }, "check"},
		"not the node": {func(a *pullsecrettest.API, o *Options) {
			a.Cert, _ = pullsecrettest.NewCert(t, time.Now().Add(time.Hour))
		}, "does not accept the node's identity (status 401)"},
		"redirects": {func(a *pullsecrettest.API, o *Options) { a.Refuse("a/pods/web", 302) }, "redirects (status 302), which is not followed"},
		"an error":  {func(a *pullsecrettest.API, o *Options) { a.Refuse("a/pods/web", 500) }, "answers with status 500"},
		"busy":      {func(a *pullsecrettest.API, o *Options) { a.Refuse("a/secrets/pull", 429) }, `secret "pull" of pod a/web: the API server`},
		"endless": {func(a *pullsecrettest.API, o *Options) {
			a.Set("a/pods/web", strings.Repeat(pullsecrettest.Canary, 300000))
		}, "more than 3 MiB"},
		"not JSON":      {func(a *pullsecrettest.API, o *Options) { a.Set("a/pods/web", pullsecrettest.Canary) }, "is not the JSON"},
		"no kubeconfig": {func(a *pullsecrettest.API, o *Options) { o.Kubeconfig = "/nowhere/kubelet.conf" }, "the node's kubeconfig is not at /nowhere/kubelet.conf; write"},
	} {
		t.Run(name, func(t *testing.T) {
			api, o := newAPI(t)
			api.Pod("a", "web", uid, "pull")
			api.Login("a", "pull", target+" t")
			tt.set(api, &o)
			started := time.Now()
			names, _, err := ask(t, o, query(t, image))
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(names) > 0 {
				t.Errorf("Credentials = %q, %v; want %s", names, err, tt.want)
			}
			if took := time.Since(started); took > 4*time.Second {
				t.Errorf("that took %s", took)
			}
			for _, path := range api.Requests() {
				if strings.Contains(path, "elsewhere") {
					t.Error("the redirect was followed")
				}
			}
		})
	}
}

// TestStopped checks that a run that is told to stop does not blame the timeout.
func TestStopped(t *testing.T) {
	api, o := newAPI(t)
	api.Delay(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := New(o).Credentials(ctx, query(t, image))
	if err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("Credentials = %v; want that it was cancelled", err)
	}
}

func httpsServer(t *testing.T, h http.Handler) *pullsecrettest.API {
	t.Helper()
	api := pullsecrettest.New(t)
	if h != nil {
		api.Config.Handler = h
	}
	return api
}

// at writes a kubeconfig of an API server with another server in it, and with more
// settings of the cluster. The server's certificate is that of every test server, so
// the CA is one that no server has.
func at(t *testing.T, a *pullsecrettest.API, server, more string) string {
	t.Helper()
	ca, _ := pullsecrettest.NewCert(t, time.Now().Add(time.Hour))
	if more != "" {
		ca = a.CA()
		more = ", " + more
	}
	_, user, _ := strings.Cut(a.Kubeconfig(""), "user: {client")
	user, _, _ = strings.Cut(user, "}")
	return pullsecrettest.Write(t, "kubelet.conf", pullsecrettest.Kubeconfig(
		fmt.Sprintf("{server: %q, certificate-authority: %q%s}", server, pullsecrettest.Write(t, "ca.crt", string(ca)), more), "{client"+user+"}"))
}

// TestProxy checks that proxy-url is used, and that the connection through it is
// verified and encrypted end to end.
func TestProxy(t *testing.T) {
	api, o := newAPI(t)
	api.Pod("a", "web", uid, "pull")
	api.Login("a", "pull", target+" t")
	through := make(chan string, 10)
	proxy := tunnel(t, through)
	text := strings.Replace(api.Kubeconfig(""), "cluster: {", "cluster: {proxy-url: http://"+proxy+", ", 2)
	o.Kubeconfig = pullsecrettest.Write(t, "kubelet.conf", strings.Replace(text, "cluster: {proxy-url: http://"+proxy+", cluster", "cluster: {cluster", 1))
	names, _, err := ask(t, o, query(t, image))
	if !slices.Equal(names, []string{"t"}) {
		t.Errorf("Credentials = %q, %v", names, err)
	}
	if len(through) != 1 {
		t.Errorf("%d connections went through the proxy; want 1", len(through))
	}
}

// tunnel runs a proxy that makes tunnels, and returns its address.
func tunnel(t *testing.T, through chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through <- r.Method + " " + r.Host
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		from, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		from.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		go copyAll(to, from)
		copyAll(from, to)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

func copyAll(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}
