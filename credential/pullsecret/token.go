package pullsecret

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A pod is the one that pulls, by its token.
type pod struct{ namespace, pod, uid string }

// audiences are the claim "aud": a string or a list of them (RFC 7519).
type audiences []string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *audiences) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*a = make(audiences, 1)
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// parseToken returns the pod that a token is bound to (Kubernetes v1.36.3,
// pkg/serviceaccount/claims.go). Its signature is not checked: the token comes from
// the kubelet, and whatever it claims, the API server shows a node only its own
// pods and their secrets.
func parseToken(token credential.Secret, audience string, now time.Time) (pod, error) {
	var claims struct {
		Audience audiences `json:"aud"`
		Expires  float64   `json:"exp"`
		Cluster  struct {
			Namespace string `json:"namespace"`
			Pod       struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	if token == "" {
		return pod{}, errors.New("the request has no service-account token; the kubelet passes one from version 1.34 on, see tokenAttributes in its CredentialProviderConfig")
	}
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return pod{}, errNoClaims
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return pod{}, errNoClaims
	}
	who := pod{claims.Cluster.Namespace, claims.Cluster.Pod.Name, claims.Cluster.Pod.UID}
	switch {
	case !slices.Contains(claims.Audience, audience):
		return pod{}, fmt.Errorf("the pod's token is not for the audience %q; restart the kubelet, so that it reads its CredentialProviderConfig", audience)
	case claims.Expires <= float64(now.Unix()):
		return pod{}, errors.New("the pod's token has expired; check the node's clock")
	case !isName(who.namespace) || !isName(who.pod) || who.uid == "":
		return pod{}, errors.New("the pod's token does not name a pod, its namespace and its uid; check that the kubelet requests it, and no other program")
	}
	return who, nil
}

var errNoClaims = errors.New("the request's service-account token is not a JSON web token; check what runs between the kubelet and this program")

// isName reports whether s may name an object in a path of the API
// (k8s.io/apimachinery v0.37.2, pkg/util/validation, IsDNS1123Subdomain): "." and
// ".." are not names.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		rest := strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-")
		if label == "" || rest != "" || strings.Trim(label, "-") != label {
			return false
		}
	}
	return true
}
