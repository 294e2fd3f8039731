package nodetest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The first promise: the plugin returns a credential for a source only if the
// hosts.toml that containerd reads at that moment is, byte for byte, one that
// mirrorcred rendered for hosts that may have it.

// damages are what may happen to a node after mirrorcred apply, for the source
// registry.corp:5000, and what the plugin says then. asks says that containerd
// asks the source itself from then on.
var damages = map[string]struct {
	do   func(d damaged) error
	said string
	asks bool
}{
	"hosts.toml removed":       {func(d damaged) error { return os.Remove(d.hosts) }, "does not exist or is empty", true},
	"its directory removed":    {func(d damaged) error { return os.RemoveAll(d.namespace) }, "does not exist, so", true},
	"all directories removed":  {func(d damaged) error { return os.RemoveAll(d.tree) }, "does not exist, so", true},
	"hosts.toml emptied":       {func(d damaged) error { return os.Truncate(d.hosts, 0) }, "does not exist or is empty", true},
	"hosts.toml cut short":     {damaged.cut, "is not as mirrorcred wrote it", true},
	"hosts.toml is not TOML":   {func(d damaged) error { return d.edit("[host]", "[host") }, "is not as mirrorcred wrote it", true},
	"a link to nowhere":        {damaged.dangle, "does not exist or is empty", true},
	"a comment added":          {func(d damaged) error { return d.edit("[host]", "[host] # mine") }, "is not as mirrorcred wrote it", false},
	"the source as server":     {func(d damaged) error { return d.edit("contoso.azurecr.io", "registry.corp:5000") }, "is not as mirrorcred wrote it", true},
	"the server taken out":     {func(d damaged) error { return d.edit("server =", "# server =") }, "is not as mirrorcred wrote it", true},
	"the source as a host too": {func(d damaged) error { return d.edit("[host]", "[host.\"https://registry.corp:5000\"]") }, "is not as mirrorcred wrote it", true},
	"another directory":        {damaged.move, "certs.d/registry.corp:5000", false},
	"the default directory":    {damaged.moveToDefault, "certs.d/_default", false},
	"the route removed":        {func(d damaged) error { return os.Remove(d.route) }, "its route is missing", false},
	"the route cut short":      {func(d damaged) error { return os.Truncate(d.route, 100) }, "cut short or was changed", false},
	"all routes removed":       {func(d damaged) error { return os.RemoveAll(filepath.Dir(d.route)) }, "there are no routes", false},
	"azure.json removed":       {func(d damaged) error { return os.Remove(d.azure) }, "azure.json", false},
}

// A damaged is where the files of the source are.
type damaged struct{ tree, namespace, hosts, route, azure string }

func (d damaged) edit(old, new string) error {
	data, err := os.ReadFile(d.hosts)
	if err != nil {
		return err
	}
	return os.WriteFile(d.hosts, bytes.Replace(data, []byte(old), []byte(new), 1), 0o644)
}

// cut leaves the header line and a part of the next one.
func (d damaged) cut() error {
	data, err := os.ReadFile(d.hosts)
	if err != nil {
		return err
	}
	return os.Truncate(d.hosts, int64(bytes.IndexByte(data, '\n')+10))
}

func (d damaged) dangle() error {
	if err := os.Remove(d.hosts); err != nil {
		return err
	}
	return os.Symlink("nowhere", d.hosts)
}

func (d damaged) move() error {
	return os.Rename(d.namespace, filepath.Join(d.tree, "registry.corp:5000"))
}

func (d damaged) moveToDefault() error {
	return os.Rename(d.namespace, filepath.Join(d.tree, "_default"))
}

// TestNoLeak damages a node and holds that the plugin returns no credentials and says
// why, and that no registry is offered a credential in the pulls that follow.
func TestNoLeak(t *testing.T) {
	const image = "registry.corp:5000/app:v1"
	for name, test := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "registry.corp:5000")
			w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
			w.apply(mirrorOf("registry.corp:5000", "", "contoso.azurecr.io"))
			if got := w.ask(image); len(got.Credentials) != 1 {
				t.Fatalf("before: the plugin answered %d credentials; want 1", len(got.Credentials))
			}
			namespace := w.node.Path(nodetest.HostsDir, "registry.corp_5000_")
			err := test.do(damaged{
				w.node.Path(nodetest.HostsDir), namespace, filepath.Join(namespace, "hosts.toml"),
				w.node.Path(nodetest.RoutesDir, "registry.corp_5000_.json"), w.node.Path(nodetest.AzureFile),
			})
			if err != nil {
				t.Fatal(err)
			}
			answer := w.ask(image)
			run := answer.Run
			if len(answer.Response.Auth) > 0 || strings.Contains(run.Stdout, "assword") {
				t.Fatalf("the plugin answered credentials for %d keys; want none", len(answer.Response.Auth))
			}
			if run.Code != 1 || run.Stdout != "" || !strings.Contains(run.Stderr, test.said) || strings.Count(run.Stderr, "\n") != 1 {
				t.Errorf("the plugin: exit code %d, %q, %q; want 1, nothing, one line with %q", run.Code, run.Stdout, run.Stderr, test.said)
			}
			w.forget()
			for way := range ways {
				if got, _ := w.pull(way, image, answer.Credentials); got.Fault == "" {
					t.Errorf("%s: pulled without a credential", way)
				}
			}
			if test.asks {
				w.checkSources("registry.corp:5000")
			} else {
				w.checkSources()
			}
		})
	}
}

// TestLeakIsSeen checks that the tests above can fail: a credential that is
// answered although hosts.toml is gone reaches the source, in each way to pull.
func TestLeakIsSeen(t *testing.T) {
	const image = "mcr.microsoft.com/app:v1"
	w := newWorld(t, "mcr.microsoft.com")
	w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
	w.apply(toContoso)
	answer := w.ask(image)
	if err := os.RemoveAll(w.node.Path(nodetest.HostsDir)); err != nil {
		t.Fatal(err)
	}
	source := w.sources["mcr.microsoft.com"]
	for way := range ways {
		source.Forget()
		if got, _ := w.pull(way, image, answer.Credentials); got.Fault == "" {
			t.Errorf("%s: pulled from a source that grants nothing", way)
		}
		if len(source.Offered()) == 0 {
			t.Errorf("%s: the source was offered no credential of %d; want the target's", way, len(answer.Credentials))
		}
	}
}
