package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mirrorcred/mirrorcred/"

// layers lists which of this module's packages each package imports. The list is
// closed: a package or an arrow that is not in it is a decision to make, and one that
// is in it alone is taken out.
var layers = map[string][]string{
	"internal/input":                {},
	"internal/pullsecrettest":       {},
	"mirror":                        {},
	"hosts":                         {"mirror", "hosts/release"},
	"hosts/release":                 {},
	"hosts/containerdconfig":        {"hosts/release"},
	"credential":                    {"mirror", "credential/internal/jsontext"},
	"credential/internal/jsontext":  {},
	"credential/route":              {"mirror", "hosts", "credential", "credential/internal/jsontext"},
	"credential/kubeletconfig":      {"mirror"},
	"credential/azure":              {"credential", "credential/azure/azurejson", "internal/input", "mirror"},
	"credential/azure/azurejson":    {"credential"},
	"credential/dockerconfig":       {"credential", "credential/internal/child", "internal/input", "mirror"},
	"credential/azure/azuretest":    {},
	"credential/execprovider":       {"credential", "credential/internal/child"},
	"credential/internal/child":     {"credential"},
	"credential/pullsecret":         {"credential", "credential/dockerconfig", "credential/internal/child", "internal/input", "mirror"},
	"systemd":                       {},
	"systemd/unitfile":              {},
	"systemd/unitfile/unitfiletest": {},
	"cmd/internal/plugin": {
		"mirror", "hosts", "credential", "credential/azure", "credential/execprovider", "credential/pullsecret", "credential/route",
		"cmd/internal/armed", "cmd/internal/audit", "cmd/internal/sources", "cmd/internal/tokens", "internal/input",
	},
	"cmd/internal/sources":           {"credential", "credential/azure", "credential/dockerconfig", "credential/execprovider", "internal/input", "mirror"},
	"cmd/internal/armed":             {"cmd/internal/durable", "internal/input"},
	"cmd/internal/audit":             {"internal/input"},
	"cmd/internal/deliver/handover":  {"cmd/internal/durable", "credential", "internal/input"},
	"cmd/internal/fault":             {},
	"cmd/internal/doctor":            {"cmd/internal/fault", "mirror", "credential", "credential/kubeletconfig", "hosts"},
	"cmd/internal/durable":           {"internal/input"},
	"cmd/internal/episode":           {},
	"cmd/internal/process":           {"internal/input"},
	"cmd/internal/kubelet":           {"cmd/internal/process", "internal/input", "systemd/unitfile"},
	"cmd/internal/kubeletflags":      {"systemd/unitfile"},
	"cmd/internal/provider":          {"cmd/internal/kubelet", "cmd/internal/process", "credential", "credential/kubeletconfig", "internal/input", "mirror"},
	"cmd/internal/deliver/ready":     {"cmd/internal/client", "cmd/internal/durable", "cmd/internal/plan", "hosts", "internal/input", "mirror"},
	"cmd/internal/client":            {"hosts", "internal/input", "mirror"},
	"cmd/internal/probe":             {"cmd/internal/audit", "cmd/internal/client", "cmd/internal/doctor", "cmd/internal/explain", "cmd/internal/plan", "cmd/internal/provider", "credential", "hosts", "internal/input", "mirror"},
	"cmd/internal/pull":              {"cmd/internal/containerd", "cmd/internal/explain", "cmd/internal/provider", "credential", "mirror"},
	"cmd/internal/tlsfiles":          {"mirror"},
	"cmd/internal/tokens":            {"credential", "internal/input"},
	"cmd/mirror-credential-provider": {"cmd/internal/plugin"},
	"cmd/internal/plan": {
		"cmd/internal/doctor", "cmd/internal/fault", "cmd/internal/tlsfiles", "mirror", "hosts", "credential/kubeletconfig", "credential/route",
	},
	"cmd/internal/node": {
		"cmd/internal/armed", "cmd/internal/clock", "cmd/internal/containerd", "cmd/internal/deliver/handover", "cmd/internal/doctor", "cmd/internal/durable", "cmd/internal/fault", "cmd/internal/kubelet", "cmd/internal/kubeletflags", "cmd/internal/plan",
		"cmd/internal/process", "cmd/internal/tlsfiles", "internal/input", "mirror", "hosts",
		"credential/azure/azurejson", "credential/dockerconfig", "credential/kubeletconfig", "systemd", "systemd/unitfile",
	},
	"cmd/internal/deliver": {
		"cmd/internal/client", "cmd/internal/deliver/handover", "cmd/internal/deliver/prove", "cmd/internal/episode", "cmd/internal/sources", "credential", "credential/azure", "credential/dockerconfig", "credential/execprovider", "hosts", "mirror",
	},
	"cmd/internal/deliver/prove": {"cmd/internal/client", "credential", "hosts"},
	"cmd/internal/installer":     {"cmd/internal/durable", "cmd/internal/node", "internal/input", "mirror", "systemd"},
	"cmd/internal/courier":       {"cmd/internal/audit", "cmd/internal/durable", "cmd/internal/episode", "cmd/internal/node", "cmd/internal/watch", "hosts", "internal/input", "mirror"},
	"cmd/internal/bootstrap": {
		"cmd/internal/containerd", "cmd/internal/doctor", "cmd/internal/durable", "cmd/internal/kubelet", "cmd/internal/kubeletflags", "cmd/internal/node", "cmd/internal/plan",
		"internal/input", "mirror", "hosts", "hosts/containerdconfig", "credential/kubeletconfig", "systemd", "systemd/unitfile",
	},
	"cmd/internal/clock": {"cmd/internal/armed", "cmd/internal/durable", "systemd"},
	"cmd/internal/containerd": {
		"cmd/internal/armed", "cmd/internal/clock", "cmd/internal/doctor", "cmd/internal/durable", "cmd/internal/fault", "cmd/internal/process", "internal/input", "mirror", "hosts", "hosts/containerdconfig", "hosts/release", "credential", "systemd/unitfile",
	},
	"cmd/internal/watch":    {"cmd/internal/audit", "cmd/internal/deliver/handover", "cmd/internal/doctor", "cmd/internal/durable", "cmd/internal/episode", "cmd/internal/fault", "cmd/internal/node", "cmd/internal/plan", "internal/input"},
	"cmd/internal/importer": {"internal/input", "mirror", "hosts", "credential", "credential/kubeletconfig"},
	"cmd/internal/explain":  {"cmd/internal/armed", "cmd/internal/plan", "cmd/internal/provider", "internal/input", "mirror", "hosts", "credential/kubeletconfig", "credential/route"},
	"cmd/internal/check": {
		"cmd/internal/audit", "cmd/internal/containerd", "cmd/internal/deliver/handover", "cmd/internal/deliver/prove", "cmd/internal/doctor", "cmd/internal/fault", "cmd/internal/kubelet", "cmd/internal/node", "cmd/internal/plan", "cmd/internal/process", "cmd/internal/tlsfiles",
		"internal/input", "mirror", "hosts", "hosts/containerdconfig", "credential/kubeletconfig", "systemd", "systemd/unitfile",
	},
	"cmd/mirrorcred": {
		"cmd/internal/armed", "cmd/internal/audit", "cmd/internal/bootstrap", "cmd/internal/check", "cmd/internal/client", "cmd/internal/containerd", "cmd/internal/courier", "cmd/internal/deliver", "cmd/internal/deliver/handover", "cmd/internal/deliver/prove", "cmd/internal/deliver/ready",
		"cmd/internal/doctor", "cmd/internal/durable", "cmd/internal/episode", "cmd/internal/explain", "cmd/internal/fault", "cmd/internal/importer", "cmd/internal/installer", "cmd/internal/node", "cmd/internal/plan", "cmd/internal/probe", "cmd/internal/process", "cmd/internal/provider", "cmd/internal/pull", "cmd/internal/sources", "cmd/internal/watch",
		"internal/input", "mirror", "hosts", "credential/azure", "credential/route", "systemd",
	},

	// What only tests, the demonstration and the figures of a fleet use.
	"cmd/internal/containerd/containerdtest":   {},
	"cmd/internal/demo":                        {"cmd/internal/nodetest", "internal/input", "credential/azure/azuretest"},
	"cmd/internal/fleet":                       {"cmd/internal/plan", "cmd/internal/tokens", "cmd/internal/watch", "mirror", "credential", "credential/azure"},
	"cmd/internal/nodetest":                    {"internal/input", "mirror"},
	"cmd/internal/nodetest/layouts":            {"cmd/internal/nodetest/layouts/containerd"},
	"cmd/internal/nodetest/layouts/containerd": {},
	"cmd/internal/process/machinetest":         {},
	"cmd/internal/tlsfiles/tlstest":            {},
}

// pure are the packages that touch neither a file nor the network nor a log.
var pure = []string{"mirror", "hosts", "hosts/release", "hosts/containerdconfig", "credential", "credential/internal/jsontext", "credential/route", "credential/azure/azurejson", "credential/kubeletconfig", "cmd/internal/doctor", "cmd/internal/fault", "cmd/internal/kubeletflags", "cmd/internal/plan", "cmd/internal/tlsfiles", "systemd/unitfile"}

var impure = []string{"os", "os/exec", "net", "net/http", "log", "log/slog", "syscall", "golang.org/x/sys/unix"}

// text are the packages that split what net calls a host and a port, and what of net
// they may use for it.
var text = map[string][]string{
	"mirror": {"SplitHostPort"},
	"hosts":  {"SplitHostPort", "ParseIP"},
}

// clock are the functions that ask what time it is: a pure package is told.
var clock = map[string][]string{"time": {"Now", "Since", "Until", "After", "Tick", "NewTimer"}}

func TestLayers(t *testing.T) {
	packages := goList(t, "./...")
	for name, p := range packages {
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("%s has no entry in layers", name)
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; arrows point down only: %q", name, own, allowed)
			}
			if slices.Contains(pure, name) && slices.Contains(impure, imported) && (imported != "net" || text[name] == nil) {
				t.Errorf("%s imports %s; it is a pure package", name, imported)
			}
		}
	}
	for name, allowed := range layers {
		for _, imported := range allowed {
			if !slices.Contains(packages[name].Imports, module+imported) {
				t.Errorf("layers lets %s import %s, which it does not", name, imported)
			}
		}
	}
}

// TestPureUseNoNetwork checks that what pure packages use of net only reads text.
func TestPureUseNoNetwork(t *testing.T) {
	for name, allowed := range text {
		eachFile(t, name, func(file string) {
			for _, u := range usesThat(t, file, func(imported, name string) bool { return imported == "net" && !slices.Contains(allowed, name) }) {
				t.Errorf("%s: %s uses %s", u.at, u.function, u.what)
			}
		})
	}
}

// TestPureAskNoTime checks that the pure packages are told the time.
func TestPureAskNoTime(t *testing.T) {
	for _, name := range pure {
		eachFile(t, name, func(file string) {
			for _, u := range uses(t, file, clock) {
				t.Errorf("%s: %s uses %s; take the time as an argument", u.at, u.function, u.what)
			}
		})
	}
}

// eachFile calls do for each Go file of a package, without its tests.
func eachFile(t *testing.T, name string, do func(file string)) {
	t.Helper()
	files, err := filepath.Glob("../../" + name + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(name, files, err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			do(file)
		}
	}
}

// TestPluginLinks checks what must not be linked into the plugin, which the
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
