package mirror

import (
	"strings"
	"testing"
)

// TestNotes checks what a valid map is told: which targets are anonymous by
// omission, and which tables nothing uses.
func TestNotes(t *testing.T) {
	const mirror = "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.corp/hub\"]\n"
	for name, test := range map[string]struct{ text, want string }{
		"a credential": {mirror + "[registry.\"harbor.corp\"]\ncredential = \"h\"\n[credential.h]\nkind = \"docker-config\"\npath = \"/h\"\n", ""},
		"an ACR host":  {"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n", ""},
		"anonymous":    {mirror + "[registry.\"harbor.corp\"]\ncredential = \"anonymous\"\n", ""},
		"the source":   {"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"docker.io\"]\n[[mirror]]\nsource = \"*\"\ntargets = [\"*\"]\n", ""},
		"no table":     {mirror, `map:2: no credential for harbor.corp; name one, or credential = "anonymous", in [registry."harbor.corp"]`},
		"a table without a credential": {
			mirror + "[registry.\"harbor.corp\"]\nca = \"/ca\"\n", `map:2: no credential for harbor.corp; name one, or credential = "anonymous", in [registry."harbor.corp"]`,
		},
		"many": {
			mirror + strings.Replace(mirror, "docker.io", "quay.io", 1) +
				strings.Replace(strings.Replace(mirror, "docker.io", "gcr.io", 1), "harbor.corp", "b.io", 1) +
				strings.Replace(strings.Replace(mirror, "docker.io", "ghcr.io", 1), "harbor.corp", "c.io", 1) +
				strings.Replace(strings.Replace(mirror, "docker.io", "k8s.io", 1), "harbor.corp", "d.io", 1),
			`map:2: no credential for harbor.corp, b.io, c.io and 1 more; name one, or credential = "anonymous", in [registry."harbor.corp"]`,
		},
		"a misspelt registry": {
			mirror + "[registry.\"harbor.corp\"]\ncredential = \"anonymous\"\n[registry.\"habor.corp\"]\nca = \"/ca\"\n",
			`map:7: [registry."habor.corp"] belongs to no target; did you mean "harbor.corp"?`,
		},
		"a registry of its own": {"[registry.\"quay.io\"]\nca = \"/ca\"\n", ""},
		"a source": {
			"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n[registry.\"docker.io\"]\nca = \"/ca\"\n",
			`map:5: no target uses the [registry] of docker.io, which is a source; its mirror's targets have settings of their own, so remove it`,
		},
		"a source that is a target": {
			"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\", \"docker.io\"]\nshare_credential = true\n[registry.\"docker.io\"]\nca = \"/ca\"\n", "",
		},
		"an unused credential": {
			"[credential.h]\nkind = \"docker-config\"\npath = \"/h\"\n[credential.azure]\nkind = \"azure\"\n",
			`map:2: [credential.h] is not used; name it as the credential of a [registry], or remove it`,
		},
	} {
		m, err := Parse("map", []byte("version = 1\n"+test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, note := range m.Notes {
			got = append(got, note.Error())
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s: the notes are\n%s\nwant\n%s", name, strings.Join(got, "\n"), test.want)
		}
	}
}
