package pullsecret_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/pullsecret"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A pod names a pull secret, which has a login for the mirror. The API server is asked
// for the two, and for nothing else.
func ExampleNew() {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		if r.URL.Path == "/api/v1/namespaces/team/pods/web" {
			fmt.Fprint(w, `{"metadata": {"uid": "1"}, "spec": {"imagePullSecrets": [{"name": "pull"}]}}`)
			return
		}
		logins := `{"auths": {"harbor.corp": {"username": "robot", "password": "secret"}}}`
		fmt.Fprintf(w, `{"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": %q}}`, base64.StdEncoding.EncodeToString([]byte(logins)))
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	kubeconfig := filepath.Join(os.TempDir(), "pullsecret-example.conf")
	defer os.Remove(kubeconfig)
	if err := os.WriteFile(kubeconfig, fmt.Appendf(nil, `current-context: node
contexts: [{name: node, context: {cluster: here, user: node}}]
clusters: [{name: here, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: node, user: {token: token-of-the-node}}]
`, server.URL, base64.StdEncoding.EncodeToString(ca)), 0o600); err != nil {
		log.Fatal(err)
	}
	registry, err := mirror.ParseHost("harbor.corp")
	if err != nil {
		log.Fatal(err)
	}
	claims := `{"aud": ["mirrorcred"], "exp": 4102444800, "kubernetes.io": {"namespace": "team", "pod": {"name": "web", "uid": "1"}}}`
	list, err := pullsecret.New(pullsecret.Options{Kubeconfig: kubeconfig, Audience: "mirrorcred"}).Credentials(context.Background(), credential.Query{
		Registry: registry, Image: "harbor.corp/hub/nginx", Asked: "docker.io/library/nginx",
		ServiceAccountToken: credential.Secret("x." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"),
	})
	fmt.Println(list[0].Username, list[0].Password, err)
	// Output:
	// GET /api/v1/namespaces/team/pods/web
	// GET /api/v1/namespaces/team/secrets/pull
	// robot [secret] <nil>
}
