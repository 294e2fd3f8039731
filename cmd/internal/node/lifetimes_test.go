package node

import (
	"encoding/base64"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
)

// webToken returns a JSON web token with these claims.
func webToken(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

// login returns an entry of a docker config.json.
func login(registry, password string) string {
	return fmt.Sprintf("%q: {\"auth\": %q}", registry, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
}

// TestLifetimes has a credential of each kind whose end is in a file.
func TestLifetimes(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return from.AddDate(0, 0, n) }
	n, _ := newNode(t, oneMap+`
[[mirror]]
source = "docker.io"
targets = ["harbor.corp/hub"]
[[mirror]]
source = "quay.io"
targets = ["second.corp/quay"]
[registry."harbor.corp"]
credential = "harbor"
client = [["/etc/client.crt", "/etc/client.key"]]
[registry."second.corp"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/harbor.json"
`)
	service, client := tlstest.New(from, day(400)), tlstest.New(from, day(300))
	write(t, n.path("/etc/kubernetes/azure.json"), `{"tenantId": "t", "aadClientId": "id", "aadClientCertPath": "/etc/azure.pem"}`)
	write(t, n.path("/etc/azure.pem"), string(service.Cert)+string(service.Key))
	write(t, n.path("/etc/client.crt"), string(client.Cert))
	write(t, n.path("/etc/client.key"), string(client.Key))
	early := webToken(fmt.Sprintf(`{"iat": %d, "exp": %d}`, from.Unix(), day(10).Unix()))
	late := webToken(fmt.Sprintf(`{"exp": %d}`, day(20).Unix()))
	unused := webToken(fmt.Sprintf(`{"exp": %d}`, day(1).Unix()))
	docker := func(logins ...string) {
		text := "{\"auths\": {"
		for i, one := range logins {
			if i > 0 {
				text += ", "
			}
			text += one
		}
		write(t, n.path("/etc/harbor.json"), text+"}}")
		if err := os.Chmod(n.path("/etc/harbor.json"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(list ...doctor.Lifetime) {
		t.Helper()
		got := apply(t, n).Lifetimes
		same := len(got) == len(list)
		for i := 0; same && i < len(list); i++ {
			same = got[i].Credential == list[i].Credential && got[i].From.Equal(list[i].From) && got[i].Until.Equal(list[i].Until)
		}
		if !same {
			t.Errorf("the lifetimes are %v; want %v", got, list)
		}
	}
	azure := doctor.Lifetime{Credential: "azure", From: from, Until: day(400)}
	tls := doctor.Lifetime{Credential: n.path("/etc/client.crt"), From: from, Until: day(300)}
	docker(login("second.corp", late), login("harbor.corp", early), login("unused.corp", unused))
	want(doctor.Lifetime{Credential: "harbor", From: from, Until: day(10)}, tls, azure)
	docker(login("second.corp", late), login("harbor.corp", "a.b.c"))
	want(doctor.Lifetime{Credential: "harbor", Until: day(20)}, tls, azure)
	docker(login("second.corp", "password"), login("harbor.corp", webToken(`{"exp": 1e300}`)))
	want(tls, azure)
	write(t, n.path("/etc/kubernetes/azure.json"), `{"useManagedIdentityExtension": true}`)
	want(tls)
}
