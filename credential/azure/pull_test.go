package azure_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// pull gets a token for two scopes in both ways that containerd has, and a
// manifest with each; and holds that the token is good for nothing else.
func pull(t *testing.T, cloud *azuretest.Cloud, registry, repository, username, password string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: cloud.DialContext, TLSClientConfig: &tls.Config{RootCAs: cloud.RootCAs()}}}
	defer client.CloseIdleConnections()
	base := "https://" + registry
	scopes := []string{"repository:" + repository + ":pull", "repository:other:pull repository:third:pull,push"}

	posted, err := http.NewRequestWithContext(t.Context(), "POST", base+"/oauth2/token", strings.NewReader(url.Values{
		"grant_type": {"password"}, "username": {username}, "password": {password}, "client_id": {"containerd-client"}, "service": {registry}, "scope": scopes,
	}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	posted.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := http.NewRequestWithContext(t.Context(), "GET", base+"/oauth2/token?"+url.Values{"service": {registry}, "scope": scopes}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got.SetBasicAuth(username, password)
	for _, req := range []*http.Request{posted, got} {
		status, body := do(t, client, req)
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if json.Unmarshal(body, &token); status != 200 || token.AccessToken == "" {
			t.Fatalf("%s /oauth2/token = %d %s; want a token", req.Method, status, body)
		}
		for path, want := range map[string]int{
			"/v2/": 200, "/v2/" + repository + "/manifests/v1": 200, "/v2/other/manifests/v1": 404, "/v2/third/manifests/v1": 404, "/v2/fourth/manifests/v1": 401,
		} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token.AccessToken)
			if status, body := do(t, client, req); status != want {
				t.Errorf("GET %s = %d %s; want %d", path, status, body, want)
			}
		}
	}
}

func do(t *testing.T, client *http.Client, req *http.Request) (int, []byte) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}
