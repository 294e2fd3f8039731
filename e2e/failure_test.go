package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

const hostsFile = node.HostsDir + "/mcr.microsoft.com/hosts.toml"

// What goes wrong at the target is not made good by the source: the pull fails
// and says why.
func TestTargetFails(t *testing.T) {
	c := startContainerd(t, versions()[0])
	for _, test := range []struct {
		name, says string
		fail       func()
	}{
		{"registry down", "503", func() { world.acr[contoso].Fail("", azuretest.Refuse(503)) }},
		{"token refused", "401", func() { world.acr[contoso].Fail("/oauth2/exchange", azuretest.Refuse(401)) }},
		{"no identity", "identity", func() { world.cloud.Identity.Fail("", azuretest.Refuse(400)) }},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			freshNode(t)
			apply(t, oneMirror, 0)
			pushRandom(t, contoso, "fails/app", "1")
			test.fail()
			err := pull(t.Context(), c, "mcr.microsoft.com/fails/app", "1")
			if err == nil {
				t.Fatal("the pull went well")
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("the pull's error does not say %q: %v", test.says, err)
			}
			silent(t, "mcr.microsoft.com")
		})
	}
}

// Whatever another program does to a hosts.toml, and so to where containerd
// goes, the source is never shown the target's credential.
func TestHostsChangedByOtherPrograms(t *testing.T) {
	for _, version := range versions() {
		c := startContainerd(t, version)
		for _, change := range changes {
			t.Run(version+"/"+strings.ReplaceAll(change.name, " ", "-"), func(t *testing.T) {
				freshNode(t)
				apply(t, oneMirror+"\n[[mirror]]\nsource = \"*\"\ntargets = [\"contoso.azurecr.io\"]\n", 0)
				change.make(t)
				for _, source := range []string{"mcr.microsoft.com", "any.example.org"} {
					// The error is beside the point: most of these ask the
					// source, which grants nothing.
					_ = pull(t.Context(), c, source+"/behind/app", "1")
					unoffered(t, source)
				}
			})
		}
		c.Stop()
	}
}

// changes are what others do to the tree.
var changes = []struct {
	name string
	make func(t *testing.T)
}{
	{"deleted", func(t *testing.T) { check(t, os.Remove(hostsFile)) }},
	{"directory deleted", func(t *testing.T) { check(t, os.RemoveAll(filepath.Dir(hostsFile))) }},
	{"tree deleted", func(t *testing.T) { check(t, os.RemoveAll(node.HostsDir)) }},
	{"emptied", func(t *testing.T) { check(t, os.Truncate(hostsFile, 0)) }},
	{"torn", func(t *testing.T) {
		info, err := os.Stat(hostsFile)
		check(t, err)
		check(t, os.Truncate(hostsFile, info.Size()-8))
	}},
	{"edited", func(t *testing.T) {
		edit(t, `server = "https://contoso.azurecr.io"`, `server = "https://mcr.microsoft.com"`)
	}},
	{"server taken out", func(t *testing.T) { edit(t, "server = ", "# server = ") }},
	{"shadowed", func(t *testing.T) { check(t, os.MkdirAll(node.HostsDir+"/any.example.org", 0o755)) }},
}

// A source that is shown a credential does tell: without this, the tests that
// hear nothing of one would prove nothing.
func TestSourceRecordsCredentials(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	auth := &cri.AuthConfig{Username: "user", Password: azuretest.Canary + "secret"}
	if err := c.Pull(t.Context(), "mcr.microsoft.com/tells/app:1", auth); err == nil {
		t.Error("the source serves an image")
	}
	if len(world.sources["mcr.microsoft.com"].Offered()) == 0 {
		t.Error("the source was shown a credential and says nothing of it")
	}
}

// edit replaces text in the hosts.toml of mcr.microsoft.com.
func edit(t *testing.T, old, new string) {
	t.Helper()
	data, err := os.ReadFile(hostsFile)
	check(t, err)
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s does not have %q:\n%s", hostsFile, old, data)
	}
	write(t, hostsFile, strings.Replace(string(data), old, new, 1))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
