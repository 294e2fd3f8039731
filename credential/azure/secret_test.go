package azure

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
)

// TestSecretFields checks that no struct here prints a secret. fmt calls no
// method on an unexported field, not even that of [credential.Secret].
func TestSecretFields(t *testing.T) {
	const canary = "CANARY-x"
	config, err := ReadConfig([]byte(`{"aadClientId":"id","aadClientSecret":"` + canary + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"config": config,
		"source": New(config, Options{}),
		"step":   startStep("step", "host", credential.Secret(canary)),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s: Sprintf(%s) = %s", name, verb, got)
			}
		}
	}
}
