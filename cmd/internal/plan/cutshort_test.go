package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The maps of TestCutShort. Each kind of change is in one of the two directions.
const (
	cutBefore = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp"]
[[mirror]]
source = "docker.io"
targets = ["other.corp"]
[[mirror]]
source = "quay.io"
targets = ["harbor.corp/hub", "third.example"]
share_credential = true
[[mirror]]
source = "registry.k8s.io"
targets = ["pods.corp"]
[[mirror]]
source = "gcr.io"
targets = ["contoso.azurecr.io"]
` + cutEnd
	cutAfter = `version = 1
[[mirror]]
source = "registry.k8s.io"
targets = ["pods.corp"]
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp"]
[[mirror]]
source = "docker.io"
targets = ["harbor.corp", "third.example"]
share_credential = true
[[mirror]]
source = "ghcr.io"
targets = ["harbor.corp"]
[[mirror]]
source = "gcr.io"
targets = ["contoso.azurecr.io"]
[[mirror]]
source = "quay.io"
targets = ["other.corp"]
` + cutEnd
	cutEnd = `[registry."harbor.corp"]
credential = "harbor"
[registry."other.corp"]
credential = "harbor"
[registry."pods.corp"]
credential = "pods"
[registry."contoso.azurecr.io"]
credential = "team"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[credential.pods]
kind = "service-account-token"
audience = "pods.corp"
username = "pod"
[credential.team]
kind = "azure"
config = "/etc/mirrorcred/team.json"
`
)

// TestCutShort applies a map that is being written, cut short at each byte, while it is
// not still yet. Each source that is routed goes on being answered, also once the map
// is whole, and so does each kubelet that starts in between ask for its credential.
func TestCutShort(t *testing.T) {
	for name, maps := range map[string][2]string{
		"the same": {cutBefore, cutBefore}, "another": {cutBefore, cutAfter}, "and back": {cutAfter, cutBefore},
	} {
		t.Run(name, func(t *testing.T) {
			parsed := 0
			for size := range len(maps[1]) {
				if _, err := mirror.Parse("map", []byte(maps[1][:size])); err == nil {
					parsed++
					applyCutShort(t, maps[0], maps[1], size)
				}
			}
			if parsed < 10 {
				t.Errorf("only %d maps that are cut short parse", parsed)
			}
		})
	}
}

func applyCutShort(t *testing.T, before, after string, size int) {
	t.Helper()
	w := newWorld(new(kubeletconfig.Reader))
	apply := func(text string, hold bool) {
		t.Helper()
		d := desire(text)
		d.Hold = func(string) bool { return hold }
		if _, err := w.apply(d); err != nil {
			t.Fatal(err)
		}
		checkAnswers(t, w, before, after, after[:size])
	}
	apply(before, false)
	w.startKubelet(true)
	apply(before, false)
	apply(after[:size], true)
	w.startKubelet(true)
	apply(after[:size], true)
	apply(after, true)
	w.startKubelet(true)
	apply(after, true)
}

// checkAnswers fails unless each source that is routed is answered with all that one of
// the whole maps says, and the kubelet that starts now asks for it.
func checkAnswers(t *testing.T, w *world, before, after, cut string) {
	t.Helper()
	want := map[string][]string{}
	for _, text := range []string{before, after} {
		d := desire(text)
		for i, f := range d.Files {
			want[string(f.Data)] = d.Map.Mirrors[i].CredentialNames()
		}
	}
	for _, host := range []string{"mcr.microsoft.com", "docker.io", "quay.io", "ghcr.io", "registry.k8s.io", "gcr.io"} {
		file := string(w.observed(0, host).Hosts)
		if file == "" {
			continue
		}
		image, err := mirror.ParseImage(host + "/app/image")
		if err != nil {
			t.Fatal(err)
		}
		offers, err := w.decided(image)
		var got []string
		for _, o := range offers {
			if o.Credential != nil {
				got = append(got, o.Credential.Name)
			}
		}
		if err != nil || !slices.Equal(got, want[file]) {
			t.Errorf("%s is routed by\n%sand is offered %q, %v; want %q; the map was cut short after %q", host, file, got, err, want[file], tail(cut))
		}
		if len(got) > 0 && !slices.ContainsFunc(w.matched(), func(p string) bool { return runsFor(p, host) }) {
			t.Errorf("%s is routed, and no kubelet that starts now asks for it; the map was cut short after %q", host, tail(cut))
		}
	}
}

// tail returns the last line of a map.
func tail(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return lines[len(lines)-1]
}
