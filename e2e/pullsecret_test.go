package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// secretPod is a pod with a pull secret, which has one login for one registry.
func secretPod(name, image, registry, username, password string) string {
	login := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %[1]s}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{"auths": {%[2]q: {"auth": %[3]q}}}'
---`, name, registry, login) + strings.Replace(pod(name, "default", image), "spec:", "spec:\n  imagePullSecrets: [{name: "+name+"}]", 1)
}

// A pod's own pull secret for the source is beside the plugin's answer. The kubelet
// tries it first, at the mirror, as it knows nothing of mirrors: if the mirror refuses
// it, the image comes with the plugin's credential, and is for every pod; if the mirror
// takes it, the image is that secret's, and a pod without it does not get the image
// though the node has it. The source is asked by neither.
func TestPullSecretForTheSource(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	judges.Store(k)
	t.Cleanup(func() { judges.Store(nil) })
	c := startContainerd(t, versions()[0])
	apply(t, podTokens, 0)
	push(t, contoso, "app/hello", "1")
	push(t, harbor, "app/private", "1")
	joinCluster(t, k, c, "imagePullCredentialsVerificationPolicy: AlwaysVerify")
	check(t, k.Apply(t.Context(), audienceRule(t, "harbor", harbor)))
	check(t, k.Apply(t.Context(), accounts))

	check(t, k.Apply(t.Context(), secretPod("refused", "mcr.microsoft.com/app/hello:1", "mcr.microsoft.com", "developer", azuretest.Canary+"source")))
	podRuns(t, k, "refused")
	credited(t, contoso, "app/hello")
	wantRecord(t, "mcr.microsoft.com/app/hello", "every pod")
	silent(t, "mcr.microsoft.com")

	check(t, k.Apply(t.Context(), secretPod("taken", "quay.io/app/private:1", "quay.io", tenantUser, tenantPassword)))
	podRuns(t, k, "taken")
	wantRecord(t, "quay.io/app/private", "secret taken")
	check(t, k.Apply(t.Context(), pod("stranger", "stranger", "quay.io/app/private:1")))
	podWaits(t, k, "stranger")
	check(t, k.Apply(t.Context(), pod("friend", "friend", "quay.io/app/private:1")))
	podRuns(t, k, "friend")
	silent(t, "quay.io")
	const podToken = "eyJhdWQiOlsi" // how the claims of a token of the cluster begin: {"aud":["
	if token, err := k.Token(t.Context(), "default", "friend", harbor); err != nil || !strings.Contains(token, podToken) {
		t.Errorf("a pod's token is %q, %v; want one with %s", token, err, podToken)
	}
	notIn(t, []string{stateDir, "/run/mirrorcred", "/var/log/mirrorcred"}, tenantPassword, azuretest.Canary+"source", podToken)
}

// notIn fails the test if a file below these directories has one of the secrets in it.
func notIn(t *testing.T, dirs []string, secrets ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			for _, secret := range secrets {
				if strings.Contains(string(data), secret) {
					t.Errorf("%s has a secret of a pod in it: %q", path, secret)
				}
			}
			return nil
		})
		check(t, err)
	}
}
