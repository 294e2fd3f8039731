package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// aCanary is in every secret of TestCanaries and nowhere else.
const aCanary = "c4n4ry"

// TestCanaries puts secrets wherever a map that is closed to others may have them,
// changes it, breaks it and takes them away again. No command prints one, no log
// has one, and no file that others can read.
func TestCanaries(t *testing.T) {
	n := newTree(t)
	secret := func(name, text string) {
		n.write(name, text)
		n.must(os.Chmod(n.path(name), 0o600))
	}
	whole := strings.ReplaceAll(`version = 1
[[mirror]]
source = "docker.io"
targets = ["registry.corp/hub"]
header = { X-Vault-Token = "VALUE", Authorization = "Bearer VALUE" }
[[mirror]]
source = "quay.io"
targets = ["harbor.corp"]
header = { X-Forwarded-For = { file = "/etc/mirrorcred/h.header" } }
[registry."registry.corp"]
credential = "ecr"
[registry."harbor.corp"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[credential.ecr]
kind = "exec"
command = "/usr/bin/ecr"
args = ["--region=VALUE", "VALUE"]
env = { REGION = "VALUE", OTHER = "a VALUE b" }
`, "VALUE", aCanary)
	secret("etc/mirrorcred/h.header", aCanary+"\n")
	secret("etc/mirrorcred/harbor.json", `{"auths": {"harbor.corp": {"auth": "dTpjNG40cnk="}, "x": {"identitytoken": "c4n4ry"}}}`)
	secret(".docker/config.json", `{"auths": {"quay.io": {"username": "c4n4ry", "password": "c4n4ry"}}}`)
	secret("etc/kubernetes/azure.json", `{"aadClientId": "x", "aadClientSecret": "c4n4ry", "tenantId": false}`)
	secret(kubeletPath, otherProvider+"    args: [c4n4ry]\n    env:\n      - name: A\n        value: c4n4ry\n")
	for _, text := range []string{
		whole, strings.ReplaceAll(whole, "registry.corp", "other.corp"), whole + "unknown = 1\n", whole[:len(whole)-2], whole + "[registry.\"u:c4n4ry@h\"]\n",
		strings.ReplaceAll(whole, "kind = \"exec\"", "kind = \"execc\""), strings.ReplaceAll(whole, "args = [", "args = [1, "), whole, "version = 1\n",
	} {
		secret(mapPath, text)
		for _, args := range [][]string{{"apply", "-n", "--diff"}, {"apply", "-n", "--json"}, {"apply", "--json"}, {"apply"}, {"apply", "-n", "--diff", "--adopt"}} {
			out, _ := program(t, append(args, "--root", n.root)...).CombinedOutput()
			if strings.Contains(string(out), aCanary) {
				t.Errorf("%v prints a secret:\n%s", args, out)
			}
		}
		checkCanaries(t, n.root)
	}
	secret(mapPath, whole)
	_, stop := n.watch(never)
	n.until("in sync", func() bool { return n.status().InSync })
	secret(mapPath, whole+"args = 1\n")
	n.until("a fault", func() bool { return n.status().Fault != "" })
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		out, _ := program(t, append(args, "--root", n.root)...).CombinedOutput()
		if strings.Contains(string(out), aCanary) {
			t.Errorf("%v prints a secret:\n%s", args, out)
		}
	}
	checkCanaries(t, n.root)
	if log := stop(); strings.Contains(log, aCanary) {
		t.Errorf("the log has a secret:\n%s", log)
	}
}

// checkCanaries fails if a file with a secret in it can be read by others.
func checkCanaries(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && strings.Contains(string(data), aCanary) && info.Mode()&0o077 != 0 {
			t.Errorf("%s has a secret and mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
