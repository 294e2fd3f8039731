package explain

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Run runs a provider as the kubelet does, and returns what it answers, without
// the secrets.
func Run(ctx context.Context, runner provider.Runner, entry kubeletconfig.Entry, image mirror.Image) Answers {
	answers := Answers{Answers: []Answer{}}
	response, err := runner.Run(ctx, entry, image)
	if err != nil {
		answers.Fault = err.Error()
		return answers
	}
	for key, c := range response.Auth {
		secret := c.Password.Reveal()
		answers.Answers = append(answers.Answers, Answer{Key: key, Username: c.Username, Length: len(secret), Expires: expiry(secret)})
	}
	// The kubelet tries them in this order.
	slices.SortFunc(answers.Answers, func(a, b Answer) int { return strings.Compare(b.Key, a.Key) })
	return answers
}

// expiry returns when a secret expires if it is a JSON Web Token with an
// expiry, otherwise "".
func expiry(secret string) string {
	parts := strings.Split(secret, ".")
	if len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var known struct {
		Expires int64 `json:"exp"`
	}
	if json.Unmarshal(claims, &known) != nil || known.Expires == 0 {
		return ""
	}
	return time.Unix(known.Expires, 0).UTC().Format(time.RFC3339)
}
