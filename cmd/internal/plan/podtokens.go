package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// firstWithTokens is the first minor version of the kubelet that hands on
// tokens unless a feature gate keeps it from that. An earlier one does not
// start with a configuration that asks for it (k8s.io/kubernetes,
// pkg/features/kube_features.go, KubeletServiceAccountTokenForCredentialProviders).
const firstWithTokens = 34

// handsOnTokens reports whether the kubelet hands pods' tokens to a provider.
func handsOnTokens(one kubeletconfig.Provider) bool { return one.TokenAttributes != nil }

// newAudiences returns the audiences of the tokens that the kubelet did not request
// until now. have are mirrorcred's present providers.
func newAudiences(wanted []kubeletconfig.Provider, have []Entry) []string {
	var list []string
	for _, one := range wanted {
		if !handsOnTokens(one) || slices.ContainsFunc(have, func(e Entry) bool { return e.Token == running(one.Name).entry(one).Token }) {
			continue
		}
		if a := one.TokenAttributes.ServiceAccountTokenAudience; !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// checkVersion refuses tokens for a kubelet that would not start with a configuration
// that asks for them.
func checkVersion(c *configuring) ([]Question, error) {
	if v := c.Map.Kubelet.Version; v != "" {
		return nil, checkTokens(v, fmt.Sprintf("%s:%d", c.MapFile, c.Map.Kubelet.VersionLine), "version of [kubelet] says")
	}
	if !c.machine.unseen.None() {
		return nil, c.needsVersion(c.machine.unseen.What, c.machine.unseen.Fix+"; or ", nil)
	}
	var questions []Question
	for _, k := range c.machine.running {
		a, open := c.seen.ask(Question{About: aboutVersion, PID: k.PID})
		if questions = append(questions, open...); len(open) > 0 {
			continue
		}
		if a.Err != nil {
			return questions, c.needsVersion(a.Err.Error(), "", a.Err)
		}
		if err := checkTokens(a.Text, c.MapFile, fmt.Sprintf("process %d is", k.PID)); err != nil {
			return questions, err
		}
	}
	return questions, nil
}

// needsVersion returns the fault of a kubelet whose version is not known. first is what
// else to do.
func (c *configuring) needsVersion(found, first string, cause error) error {
	return &fault.Fault{
		What: "the kubelet's version is needed for the audience of a credential, and is not known", Where: c.MapFile, Found: found,
		Fix: fmt.Sprintf("%swrite it under [kubelet], such as version = \"1.%d\"", first, firstWithTokens), Until: NotApplied, Cause: cause,
	}
}

func checkTokens(version, where, says string) error {
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil || major > 1 || minor >= firstWithTokens {
		return err
	}
	return &fault.Fault{
		What:  "this kubelet does not start with a configuration that asks for tokens of pods",
		Where: where, Found: fmt.Sprintf("%s kubelet %s", says, version), Until: NotApplied,
		Fix: fmt.Sprintf("update it to 1.%d or later, or remove audience from the credentials, and those of kind service-account-token and pull-secret", firstWithTokens),
	}
}
