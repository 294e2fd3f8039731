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

// Run runs mirrorcred's providers as the kubelet does for a pod without a service
// account, and returns what they answer, without the secrets. It returns false if
// no such provider is configured.
func Run(ctx context.Context, runner provider.Runner, entries []kubeletconfig.Entry, image mirror.Image) (Answers, bool) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e kubeletconfig.Entry) bool { return e.Routes() == "" || e.NeedsPod() })
	isMatch := func(e kubeletconfig.Entry) bool {
		_, ok := provider.Match(e, image)
		return ok
	}
	if i := slices.IndexFunc(entries, isMatch); i < 0 && len(entries) > 1 {
		entries = entries[:1] // the kubelet runs none, but what would it answer?
	} else if i >= 0 {
		entries = slices.DeleteFunc(entries, func(e kubeletconfig.Entry) bool { return !isMatch(e) })
	}
	answers := Answers{Answers: []Answer{}}
	for _, entry := range entries {
		response, err := runner.Run(ctx, entry, image)
		if err != nil {
			answers.Fault = strings.TrimPrefix(answers.Fault+"; "+err.Error(), "; ")
			continue
		}
		for key, c := range response.Auth {
			secret := c.Password.Reveal()
			answers.Answers = append(answers.Answers, Answer{Key: key, Username: c.Username, Length: len(secret), Expires: expiry(secret)})
		}
	}
	// The kubelet tries them in this order.
	slices.SortFunc(answers.Answers, func(a, b Answer) int { return strings.Compare(b.Key, a.Key) })
	return answers, len(entries) > 0
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
