package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mirrorcred/mirrorcred/"

// layers says which packages of ours each package may import; one that is not
// named may import all of those that are.
var layers = map[string][]string{
	"mirror":                     {},
	"hosts":                      {"mirror"},
	"credential":                 {"mirror"},
	"credential/kubeletconfig":   {"mirror"},
	"credential/azure":           {"credential", "credential/azure/azurejson", "mirror"},
	"credential/azure/azurejson": {"credential"},
	"credential/dockerconfig":    {"credential", "credential/internal/child", "mirror"},
	"credential/execprovider":    {"credential", "credential/internal/child", "mirror"},
	"systemd":                    {},
	"cmd/internal/plugin": {
		"mirror", "hosts", "credential", "credential/azure", "credential/dockerconfig", "credential/execprovider",
		"cmd/internal/audit", "cmd/internal/tokens",
	},
	"cmd/internal/audit":             {},
	"cmd/internal/tokens":            {"credential"},
	"cmd/mirror-credential-provider": {"cmd/internal/plugin"},
	"cmd/internal/node":              {"mirror", "hosts", "credential", "credential/azure/azurejson", "credential/kubeletconfig"},
}

// pure are the packages that touch neither a file nor the network nor a log.
var pure = []string{"mirror", "hosts", "credential", "credential/azure/azurejson", "credential/kubeletconfig"}

var impure = []string{"os", "net/http", "log", "log/slog", "os/exec"}

func TestLayers(t *testing.T) {
	for name, p := range goList(t, "./...") {
		for _, imported := range p.Imports {
			ours, isOurs := strings.CutPrefix(imported, module)
			allowed, isNamed := layers[name]
			if isOurs && isNamed && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; arrows point down only: %q", name, ours, allowed)
			}
			if slices.Contains(pure, name) && slices.Contains(impure, imported) {
				t.Errorf("%s imports %s; it is a pure package", name, imported)
			}
		}
	}
}

// TestPluginLinks holds what must not be linked into the plugin, which the
// kubelet starts for each image.
func TestPluginLinks(t *testing.T) {
	for name := range goList(t, "-deps", "./cmd/mirror-credential-provider") {
		for _, heavy := range []string{
			"github.com/containerd/", "github.com/spf13/cobra", "k8s.io/", "sigs.k8s.io/", "google.golang.org/grpc",
		} {
			if strings.HasPrefix(name, heavy) {
				t.Errorf("the plugin links %s", name)
			}
		}
	}
}

type goPackage struct{ Imports []string }

// goList returns the packages of a pattern by import path, those of this module
// without it.
func goList(t *testing.T, args ...string) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct {
			ImportPath string
			goPackage
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[strings.TrimPrefix(p.ImportPath, module)] = p.goPackage
	}
	if len(packages) == 0 {
		t.Fatal("go list names no package")
	}
	return packages
}
