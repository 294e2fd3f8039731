package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A host is a node below a root on which nothing is wrong.
type host struct {
	*testing.T
	root string
	// play sets what cannot be read without a machine of one's own.
	play func(v *visit)
	// answer is what the watcher reports; nil for one that does not answer.
	answer *Watcher
	// deliverer is what is known of what asks registries; nil if that does not matter.
	deliverer *Deliverer
}

const (
	mapFile   = "/etc/mirrorcred/mirrors.toml"
	config    = "/etc/containerd/config.toml"
	tree      = "/etc/containerd/certs.d/"
	providers = "/var/lib/kubelet/credential-provider-config.yaml"
	plugin    = "/var/lib/kubelet/credential-provider/mirror-credential-provider"
	flags     = "/etc/default/kubelet"
	azure     = "/etc/kubernetes/azure.json"
	record    = "/var/lib/mirrorcred/armed.json"
	state     = "/var/lib/mirrorcred/state.json"
	machineID = "/etc/machine-id"
	unit      = "/etc/systemd/system/kubelet.service"
)

const theMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
[[mirror]]
source = "quay.io"
targets = ["mirror.corp"]
`

const theConfig = `version = 3
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '/etc/containerd/certs.d'
`

// theFlags are the kubelet's two flags.
const theFlags = "--image-credential-provider-config=" + providers + " --image-credential-provider-bin-dir=/var/lib/kubelet/credential-provider"

// healthy is where the healthy node is that all others are copies of.
var healthy struct {
	sync.Once
	root string
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(healthy.root)
	os.Exit(code)
}

// newHost returns a copy of the healthy node.
func newHost(t *testing.T) *host {
	t.Helper()
	healthy.Do(func() {
		root, err := os.MkdirTemp("", "healthy")
		if err != nil {
			t.Fatal(err)
		}
		healthy.root = root
		h := &host{T: t, root: root}
		h.write(mapFile, theMap)
		h.write(config, theConfig)
		h.write(plugin, "#!/bin/sh\n")
		h.chmod(plugin, 0o755)
		h.write(azure, `{"useManagedIdentityExtension": true}`)
		h.chmod(azure, 0o600)
		h.write(flags, "KUBELET_EXTRA_ARGS="+theFlags+"\n")
		h.write(machineID, "0123456789abcdef0123456789abcdef\n")
		h.apply()
	})
	h := &host{T: t, root: t.TempDir(), play: func(*visit) {}}
	h.copy("/")
	return h
}

// copy copies what is at a path of the healthy node, with its modes; what is not there
// goes.
func (h *host) copy(path string) {
	h.Helper()
	h.must(filepath.WalkDir(filepath.Join(healthy.root, path), func(from string, e fs.DirEntry, err error) error {
		to := filepath.Join(h.root, strings.TrimPrefix(from, healthy.root))
		if errors.Is(err, fs.ErrNotExist) {
			return os.RemoveAll(to)
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		h.must(err)
		if e.IsDir() {
			h.must(os.MkdirAll(to, 0o755))
			return os.Chmod(to, info.Mode().Perm())
		}
		data, err := os.ReadFile(from)
		h.must(err)
		h.must(os.RemoveAll(to))
		h.must(os.WriteFile(to, data, info.Mode().Perm()))
		return os.Chmod(to, info.Mode().Perm())
	}))
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *host) apply() {
	h.Helper()
	_, err := node.New(h.root, "", false).Apply(h.Context())
	h.must(err)
}

func (h *host) adopt() {
	h.Helper()
	_, err := node.New(h.root, "", true).Apply(h.Context())
	h.must(err)
}

func (h *host) write(path, text string) {
	h.Helper()
	path = filepath.Join(h.root, path)
	h.must(os.MkdirAll(filepath.Dir(path), 0o755))
	h.must(os.WriteFile(path, []byte(text), 0o644))
}

func (h *host) chmod(path string, mode os.FileMode) {
	h.Helper()
	h.must(os.Chmod(filepath.Join(h.root, path), mode))
}

func (h *host) remove(path string) {
	h.Helper()
	h.must(os.RemoveAll(filepath.Join(h.root, path)))
}

func (h *host) append(path, text string) {
	h.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, path))
	h.must(err)
	h.write(path, string(data)+text)
}

// replace changes a text in a file.
func (h *host) replace(path, from, to string) {
	h.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, path))
	h.must(err)
	if !strings.Contains(string(data), from) {
		h.Fatalf("%s has no %q", path, from)
	}
	h.write(path, strings.ReplaceAll(string(data), from, to))
}

// link makes a symbolic link.
func (h *host) link(to, path string) {
	h.Helper()
	h.must(os.Symlink(to, filepath.Join(h.root, path)))
}

// watcher is that of the host.
func (h *host) watcher(context.Context) (Watcher, error) {
	if h.answer == nil {
		return Watcher{}, errors.New("connection refused")
	}
	return *h.answer, nil
}

// observe returns what is found.
func (h *host) observe() []Finding {
	o := Options{Root: h.root, Watcher: h.watcher, Version: "v2"}
	if h.deliverer != nil {
		o.Deliverer = func(context.Context) Deliverer { return *h.deliverer }
	}
	v := newVisit(o)
	if h.play != nil {
		h.play(v)
	}
	return v.node(h.Context(), o)
}

// names returns the names of findings, each with its severity.
func (h *host) names(found []Finding) []string {
	list := []string{}
	for _, f := range found {
		list = append(list, fmt.Sprintf("%s %s", f.Severity, f.Name))
		// Two notes have nothing to repair.
		if f.Text == "" || f.Repair == "" && f.Severity != "note" || strings.Contains(f.Text+f.Repair+f.Where, "CANARY") {
			h.Errorf("finding without a text or a repair, or with a secret: %+v", f)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

var chmod = regexp.MustCompile(`chmod (0?[0-7]{3}|go-w) (\S+)`)

// repair does what findings say: it runs their command, or it puts the file that they
// name back as it is on the healthy node.
func (h *host) repair(found []Finding) {
	for _, f := range found {
		command := chmod.FindStringSubmatch(f.Repair)
		switch {
		case command != nil:
			info, err := os.Stat(command[2])
			h.must(err)
			mode := info.Mode().Perm() &^ 0o022
			if n, err := strconv.ParseUint(command[1], 8, 32); err == nil {
				mode = os.FileMode(n)
			}
			h.must(os.Chmod(command[2], mode))
		case strings.Contains(f.Repair, "mirrorcred apply --adopt"):
			h.adopt()
		case strings.HasPrefix(f.Repair, "mirrorcred apply"):
			h.apply()
		default:
			where, _, _ := strings.Cut(strings.TrimPrefix(f.Where, h.root), ":")
			if _, err := os.Lstat(f.Where); err == nil { // a name with a colon
				where = strings.TrimPrefix(f.Where, h.root)
			}
			if !strings.HasPrefix(where, "/") {
				h.Errorf("%s is at %q, which is not a file: the test has to say how it is repaired", f.Name, f.Where)
				continue
			}
			h.copy(where)
		}
	}
}

// enable has systemd start the watcher at boot.
func (h *host) enable() { h.write(enabled, "") }

// containerds are built programs by their version.
var (
	containerds   = map[string]string{}
	containerdsMu sync.Mutex
)

// installContainerd installs a program that is built as containerd is.
func (h *host) installContainerd(version string) {
	h.Helper()
	containerdsMu.Lock()
	defer containerdsMu.Unlock()
	if containerds[version] == "" {
		src := h.TempDir()
		for name, text := range map[string]string{
			"go.mod":             "module github.com/containerd/containerd/v2\n\ngo 1.26\n",
			"version/version.go": "package version\n\nvar Version = \"2.0.0+unknown\"\n",
			"main.go":            "package main\n\nimport \"github.com/containerd/containerd/v2/version\"\n\nfunc main() { panic(version.Version) }\n",
		} {
			h.must(os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755))
			h.must(os.WriteFile(filepath.Join(src, name), []byte(text), 0o644))
		}
		cmd := exec.Command("go", "build", "-ldflags=-X github.com/containerd/containerd/v2/version.Version="+version, "-o", "built", ".")
		cmd.Dir, cmd.Env = src, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			h.Fatalf("go build: %v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(src, "built"))
		h.must(err)
		containerds[version] = string(data)
	}
	h.write("/usr/local/bin/containerd", containerds[version])
	h.chmod("/usr/local/bin/containerd", 0o755)
}
