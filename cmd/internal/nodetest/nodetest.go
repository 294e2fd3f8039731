// Package nodetest is a stand-in for a node around the two built programs. It
// lays out a node's files below a directory, has mirrorcred apply a map, runs
// the plugin as the kubelet does, and pulls as containerd does.
//
// The kubelet is played, with its own types and by the rules of its source.
// containerd is real: its resolvers and fetchers, in a process of their own.
// The tests see the programs from outside, through what they write and answer;
// only how the kubelet matches an image comes from package mirror. The
// registries around the node are those of azuretest. Start at [New].
package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Where things are on the node.
const (
	MapFile       = "/etc/mirrorcred/mirrors.toml"
	AzureFile     = "/etc/kubernetes/azure.json"
	HostsDir      = "/etc/containerd/certs.d"
	KubeletConfig = "/var/lib/kubelet/credential-provider-config.yaml"
	BinDir        = "/var/lib/kubelet/credential-provider"
	RoutesDir     = "/var/lib/mirrorcred/routes"
)

// The names of the two programs.
const (
	Manager = "mirrorcred"
	Plugin  = "mirror-credential-provider"
)

const containerdConfig = `version = 3

[plugins."io.containerd.cri.v1.images".registry]
config_path = "` + HostsDir + `"
`

// ManagedIdentity is an azure.json of a node with a system-assigned identity.
const ManagedIdentity = `{
  "cloud": "AzurePublicCloud",
  "tenantId": "11111111-2222-3333-4444-555555555555",
  "useManagedIdentityExtension": true
}
`

// programs is the path that the two programs are below.
const programs = "github.com/mirrorcred/mirrorcred/cmd/"

// Build builds the two programs into a directory, and looks at each file that
// they are made of: "go test" takes a result from its cache if all files
// that the test itself looked at are as they were, and does not see those that
// a go build reads.
func Build(ctx context.Context, dir string) error {
	if _, err := goCommand(ctx, "build", "-o", dir+string(filepath.Separator), programs+Manager, programs+Plugin); err != nil {
		return err
	}
	const files = `{{with .Module}}{{if .Main}}{{$.Dir}}
{{range $.GoFiles}}{{$.Dir}}/{{.}}
{{end}}{{range $.EmbedFiles}}{{$.Dir}}/{{.}}
{{end}}{{.GoMod}}
{{end}}{{end}}`
	list, err := goCommand(ctx, "list", "-deps", "-f", files, programs+Manager, programs+Plugin)
	if err != nil {
		return err
	}
	for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == '\n' }) {
		if _, err := os.Stat(name); err != nil {
			return err
		}
	}
	return nil
}

// goCommand runs the go command and returns what it prints.
func goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// A Node is a node's files and the network that its programs see.
type Node struct {
	// Root is the directory that the node's files are below.
	Root string
	// Env is added to the environment of every program.
	Env []string
	// ContainerdEnv is added to that of containerd, after Env.
	ContainerdEnv []string

	bin string
}

// New lays a node out below the directory root, with the programs that are in
// the directory bin: containerd's configuration, an azure.json with a managed
// identity, the kubelet's two flags, and the plugin where the kubelet looks for it.
func New(root, bin string, env []string) (*Node, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	for _, program := range []string{Manager, Plugin} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return nil, err
		}
	}
	n := &Node{Root: root, Env: env, bin: bin}
	plugin := n.Path(BinDir, Plugin)
	if err := os.MkdirAll(filepath.Dir(plugin), 0o755); err != nil {
		return nil, err
	}
	return n, errors.Join(
		n.WriteFile("/etc/containerd/config.toml", containerdConfig),
		n.WriteFile(AzureFile, ManagedIdentity),
		n.WriteFile("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--image-credential-provider-config="+KubeletConfig+" --image-credential-provider-bin-dir="+BinDir+"\n"),
		install(filepath.Join(bin, Plugin), plugin))
}

// install puts a program below the node's root. A symbolic link would lead out of
// it, which below --root it must not.
func install(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// Path returns where a path of the node is on this machine.
func (n *Node) Path(parts ...string) string {
	return filepath.Join(append([]string{n.Root}, parts...)...)
}

// WriteFile writes a file of the node, and the directories above it.
func (n *Node) WriteFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(n.Path(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(n.Path(path), []byte(text), 0o600)
}

// A Run is what a program did.
type Run struct {
	Code           int
	Stdout, Stderr string
}

// run runs a program with the node's network.
func (n *Node) run(ctx context.Context, stdin []byte, env []string, name string, args ...string) (Run, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), n.Env...), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	done := Run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	return done, err
}

// Apply has mirrorcred bring the node to its map. args are more flags.
func (n *Node) Apply(ctx context.Context, args ...string) (Run, error) {
	return n.run(ctx, nil, nil, filepath.Join(n.bin, Manager), append([]string{"apply", "--root", n.Root}, args...)...)
}
