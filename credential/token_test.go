package credential

import (
	"strings"
	"testing"
)

func TestPodToken(t *testing.T) {
	for token, want := range map[Secret]string{
		"CANARY.a.b": "",
		"":           "has no service-account token",
		"CANARY\nx":  "holds spaces or control characters",
		"CANARY x":   "holds spaces or control characters",
		"CANARY\x7f": "holds spaces or control characters",
		"CANARYé":    "holds spaces or control characters",
	} {
		got, err := PodToken{Username: "robot"}.Credential(t.Context(), Query{ServiceAccountToken: token})
		switch {
		case want == "" && (err != nil || got.Username != "robot" || got.Password != token):
			t.Errorf("Credential with %q = %q, %v", token.Reveal(), got.Username, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY")):
			t.Errorf("Credential with %q: %v; want %q", token.Reveal(), err, want)
		}
	}
}
