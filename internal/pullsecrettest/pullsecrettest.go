// Package pullsecrettest is a stand-in for a Kubernetes API server that has pods and
// their pull secrets, for tests. As the node authorizer does, it shows one node the
// objects that it was given for it, and refuses all else. Start at [New].
package pullsecrettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Canary is in every secret of this package: a test can look for it where none may
// be.
const Canary = "c4nary-Tenant"

// Bearer is a token that the API server takes for the node's.
const Bearer = Canary + "-node-token"

// An API is a running API server.
type API struct {
	*httptest.Server
	// Cert and Key are the node's client certificate and its key, as PEM.
	Cert, Key []byte

	mu       sync.Mutex
	objects  map[string]any
	refusals map[string][]int // statuses that come first, by path
	delay    time.Duration
	requests []string
	strange  []string
}

// New starts an API server, which ends with the test.
func New(t testing.TB) *API {
	t.Helper()
	a := &API{objects: map[string]any{}, refusals: map[string][]int{}}
	a.Cert, a.Key = NewCert(t, time.Now().Add(time.Hour))
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// NewCert returns a client certificate of a node that is valid until end, and its
// key.
func NewCert(t testing.TB, end time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: end.Add(-48 * time.Hour), NotAfter: end,
		Subject: pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	data, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data})
}

// CA returns the CA of the server, as PEM.
func (a *API) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
}

// Kubeconfig returns a kubeconfig for this server with this user, as YAML on one
// line; "" is the node's client certificate.
func (a *API) Kubeconfig(user string) string {
	if user == "" {
		encoded := base64.StdEncoding.EncodeToString
		user = fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", encoded(a.Cert), encoded(a.Key))
	}
	return Kubeconfig(fmt.Sprintf("{server: %q, certificate-authority-data: %s}", a.URL, base64.StdEncoding.EncodeToString(a.CA())), user)
}

// Kubeconfig returns a kubeconfig with one cluster and one user.
func Kubeconfig(cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: here
contexts: [{name: other, context: {cluster: none, user: none}}, {name: here, context: {cluster: c, user: u, namespace: x}}]
clusters: [{name: c, cluster: %s}]
users: [{name: u, user: %s}]
preferences: {}
`, cluster, user)
}

// Write writes a file for a test and returns its path.
func Write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Pod adds a pod of the node, which names these pull secrets.
func (a *API) Pod(namespace, name, uid string, secrets ...string) {
	var names []map[string]string
	for _, secret := range secrets {
		names = append(names, map[string]string{"name": secret})
	}
	a.Set(namespace+"/pods/"+name, map[string]any{
		"kind": "Pod", "metadata": map[string]any{"name": name, "namespace": namespace, "uid": uid},
		"spec": map[string]any{"imagePullSecrets": names, "containers": []any{}},
	})
}

// Login adds a pull secret with logins, each "registry username"; their passwords
// hold [Canary] and the username.
func (a *API) Login(namespace, name string, logins ...string) {
	auths := map[string]any{}
	for _, login := range logins {
		registry, username, _ := strings.Cut(login, " ")
		auths[registry] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(username + ":" + Canary + username))}
	}
	data, _ := json.Marshal(map[string]any{"auths": auths}) // of strings
	a.Secret(namespace, name, "kubernetes.io/dockerconfigjson", ".dockerconfigjson", string(data))
}

// Secret adds a secret of any type.
func (a *API) Secret(namespace, name, kind, key, text string) {
	a.Set(namespace+"/secrets/"+name, map[string]any{
		"kind": "Secret", "type": kind, "metadata": map[string]any{"name": name, "namespace": namespace},
		"data": map[string]string{key: base64.StdEncoding.EncodeToString([]byte(text))},
	})
}

// Set answers a path below /api/v1/namespaces/ with an object, or with text as it
// is; nil is nothing.
func (a *API) Set(path string, object any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[path] = object
}

// Refuse answers the next requests for a path below /api/v1/namespaces/ with these
// statuses first.
func (a *API) Refuse(path string, statuses ...int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusals[path] = statuses
}

// Delay has each answer come later.
func (a *API) Delay(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.delay = d
}

// Requests returns the paths below /api/v1/namespaces/ that were asked for since the
// last call, with their queries.
func (a *API) Requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.requests
	a.requests = nil
	return list
}

// Strange returns the requests that a plugin must never make: any but GET of one pod
// or one secret.
func (a *API) Strange() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.strange)
}

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/")
	a.mu.Lock()
	a.requests = append(a.requests, strings.TrimSuffix(path+"?"+r.URL.RawQuery, "?"))
	parts := strings.Split(path, "/")
	if r.Method != http.MethodGet || len(parts) != 3 || parts[1] != "pods" && parts[1] != "secrets" || path == r.URL.Path {
		a.strange = append(a.strange, r.Method+" "+r.URL.String())
	}
	object, delay, status := a.objects[path], a.delay, 0
	if list := a.refusals[path]; len(list) > 0 {
		status, a.refusals[path] = list[0], list[1:]
	}
	a.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
	}
	text, isText := object.(string)
	switch {
	case !a.isNode(r):
		http.Error(w, "not the node: "+Canary, http.StatusUnauthorized)
	case status/100 == 3:
		http.Redirect(w, r, "https://"+r.Host+"/elsewhere", status)
	case status != 0:
		http.Error(w, Canary, status)
	case object == nil:
		http.Error(w, `{"kind":"Status","code":404}`, http.StatusNotFound)
	case isText:
		io.WriteString(w, text)
	default:
		json.NewEncoder(w).Encode(object)
	}
}

func (a *API) isNode(r *http.Request) bool {
	if r.Header.Get("Authorization") == "Bearer "+Bearer {
		return true
	}
	block, _ := pem.Decode(a.Cert)
	return len(r.TLS.PeerCertificates) > 0 && slices.Equal(r.TLS.PeerCertificates[0].Raw, block.Bytes)
}

// Token returns a token as the kubelet passes it for a pod. Its signature is not one.
func Token(namespace, pod, uid, audience string, expires time.Time) string {
	claims, _ := json.Marshal(map[string]any{ // of strings
		"aud": []string{audience}, "exp": expires.Unix(), "sub": "system:serviceaccount:" + namespace + ":default",
		"kubernetes.io": map[string]any{
			"namespace": namespace, "node": map[string]string{"name": "n1"},
			"pod": map[string]string{"name": pod, "uid": uid}, "serviceaccount": map[string]string{"name": "default"},
		},
	})
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(claims) + "." + base64.RawURLEncoding.EncodeToString([]byte(Canary))
}
