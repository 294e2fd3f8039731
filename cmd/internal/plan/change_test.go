package plan

import "testing"

// TestChange tells of a change which source it is about and where it leads.
func TestChange(t *testing.T) {
	const one = "server = \"https://contoso.azurecr.io\"\n\n[host]\n"
	for name, test := range map[string]struct {
		change           Change
		source, from, to string
	}{
		"a new mirror": {Change{Stage: StageHosts, Path: "/c/_default/hosts.toml", New: []byte(one)}, "*", "", "contoso.azurecr.io"},
		"a removal":    {Change{Stage: StageRemove, Path: "/c/a.io_5000_/hosts.toml", Old: []byte(one)}, "a.io:5000", "contoso.azurecr.io", ""},
		"a prefix and a way to the source": {
			Change{Stage: StageHosts, Path: "/c/docker.io/hosts.toml", Old: []byte(one), New: []byte("[host.\"http://h.corp:5000/v2/hub\"]\noverride_path = true\n")},
			"docker.io", "contoso.azurecr.io", "http://h.corp:5000/hub, docker.io",
		},
		"a path before the API": {
			Change{Stage: StageHosts, Path: "/c/quay.io/hosts.toml", New: []byte("server = \"https://nexus.corp/repository/q/v2\"\noverride_path = true\n[host]\n")},
			"quay.io", "", "nexus.corp/repository/q",
		},
		"a route":     {Change{Stage: StageForget, Path: "/r/docker.io.json", Old: []byte("{}")}, "docker.io", "", ""},
		"the kubelet": {Change{Stage: StageKubelet, Path: "/k/config.yaml"}, "", "", ""},
	} {
		source := test.change.Source()
		from, to := "", ""
		if test.change.Stage == StageHosts || test.change.Stage == StageRemove {
			from, to = test.change.From(), test.change.To()
		}
		if source != test.source || from != test.from || to != test.to {
			t.Errorf("%s: source %q from %q to %q; want %q, %q, %q", name, source, from, to, test.source, test.from, test.to)
		}
	}
}
