package nodetest

import (
	"fmt"
	"testing"

	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// TestKeyring states the order in which the played kubelet pulls: longer paths
// first, and no boundary at the end of one.
func TestKeyring(t *testing.T) {
	auth := map[string]credentialprovider.AuthConfig{}
	for _, key := range []string{
		"a.io", "a.io/team", "https://a.io/team/app", "a.io/v2/team/app/x", "*.io", "a.io:443", "b.io/", "b.io/team/", "A.io",
	} {
		auth[key] = credentialprovider.AuthConfig{Username: key}
	}
	for image, want := range map[string]string{
		"a.io/team/app":   "[https://a.io/team/app a.io/team a.io *.io]",
		"a.io/team/app/x": "[a.io/v2/team/app/x https://a.io/team/app a.io/team a.io *.io]",
		"a.io/teams":      "[a.io/team a.io *.io]",
		"a.io:443/x":      "[a.io:443]",
		"b.io/teams":      "[b.io/ *.io]",
		"b.io/team/x":     "[b.io/team/ b.io/ *.io]",
		"a.io.evil/team":  "[]",
	} {
		names := []string{}
		for _, c := range keyring(auth, image) {
			names = append(names, c.Username)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("keyring(%s) = %s; want %s", image, got, want)
		}
	}
}
