package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A block is an example in a document.
type block struct{ language, text string }

// file returns the file that a block is, if its first line is "# /PATH", and ""
// otherwise.
func (b block) file() string {
	first, _, _ := strings.Cut(b.text, "\n")
	name, ok := strings.CutPrefix(first, "# ")
	if !ok || !filepath.IsAbs(name) || strings.Contains(name, " ") {
		return ""
	}
	return name
}

// body returns the block without its first line.
func (b block) body() string {
	_, body, _ := strings.Cut(b.text, "\n")
	return body
}

// blocks returns the examples of a document.
func blocks(text string) []block {
	var list []block
	for {
		_, rest, ok := strings.Cut(text, "```")
		if !ok {
			return list
		}
		var b string
		b, text, _ = strings.Cut(rest, "```")
		language, code, _ := strings.Cut(b, "\n")
		list = append(list, block{language, code})
	}
}

// documents returns the text of every document by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"../../docs/*.md", "../../*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found[file] = string(data)
		}
	}
	if len(found) < 10 {
		t.Fatalf("there are %d documents", len(found))
	}
	return found
}

// TestDocs holds the examples in the documents to what the program does. A block
// of TOML is a map that parses; or what the map before it makes, if it begins with
// the name of a hosts.toml; or a configuration with which containerd reads the
// map's directory. A block of YAML is what the map before it makes of the kubelet's
// configuration, or a file of its own.
func TestDocs(t *testing.T) {
	counts := map[string]int{}
	for file, text := range documents(t) {
		d := &document{name: file}
		for _, b := range blocks(text) {
			what, err := d.check(t, b)
			if err != nil {
				t.Errorf("%s: %v\n%s", file, err, b.text)
			}
			counts[what]++
		}
	}
	for what, least := range map[string]int{"map": 20, "hosts.toml": 5, "provider": 2, "containerd": 3, "nodeadm": 1, "rule": 1, "go": 1, "console": 1, "images": 1, "scrape": 1} {
		if counts[what] < least {
			t.Errorf("found %d of %q in the documents, want at least %d; does the test recognise them?", counts[what], what, least)
		}
	}
}

// A document remembers the last map in it.
type document struct {
	name string
	last *mirror.Map
	text string // of it
}

// check checks one block, and returns what kind of example it is.
func (d *document) check(t *testing.T, b block) (string, error) {
	t.Helper()
	switch file := b.file(); {
	case b.language == "toml" && file == mirror.DefaultContainerdConfig:
		return "containerd", readsHostsDir(b.text)
	case b.language == "toml" && strings.HasPrefix(b.text, "# certs.d/"):
		name := strings.TrimPrefix(strings.SplitN(b.text, "\n", 2)[0], "# certs.d/")
		return "hosts.toml", differ(b.body(), rendered(t, d.last, strings.TrimSuffix(name, "/"+hosts.FileName)))
	case b.language == "toml":
		m, err := mirror.Parse(filepath.Base(d.name), []byte(b.text))
		if err == nil {
			d.last, d.text = m, b.text
		}
		return "map", err
	case b.language == "yaml" && filepath.Base(d.name) == "rollout.md":
		return "values", nil // TestExamples in deploy/manifests
	case b.language == "yaml" && strings.HasPrefix(file, "/etc/eks/nodeadm.d/"):
		return "nodeadm", readsNodeConfig(b.text)
	case b.language == "yaml" && strings.HasPrefix(b.text, "# rbac\n"):
		return "rule", isRule(d.last, b.text)
	case b.language == "yaml" && strings.HasPrefix(b.text, "scrape_configs:\n"):
		return "scrape", scrapes(b.text)
	case b.language == "yaml" && strings.HasPrefix(b.text, "#cloud-config\n"), b.language == "yaml" && strings.HasPrefix(b.text, "# kind.yaml\n"), b.language == "bash":
		return "script", nil // TestJoinPage
	case b.language == "yaml" && file == "":
		if got := kubeletConfig(t, d.text); !strings.Contains(got, b.text) {
			return "provider", fmt.Errorf("the map before this makes\n%s", got)
		}
		return "provider", nil
	case b.language == "console":
		return "console", printed(t, d.text, b.text)
	case b.language == "text" && strings.HasPrefix(b.text, "# images.txt\n"):
		return "images", areImages(t, b.text)
	case b.language == "go":
		return "go", isInExample(b.text)
	case slices.Contains([]string{"sh", "ini", "mermaid"}, b.language):
		return b.language, nil // TestReadme, TestCommands; a picture
	}
	return "", fmt.Errorf("a block of %q that no test checks", b.language)
}

// areImages holds that "mirrorcred pull --from" reads a list.
func areImages(t *testing.T, text string) error {
	t.Helper()
	name := filepath.Join(t.TempDir(), "images.txt")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	images, err := imagesFrom(name)
	if err == nil && len(images) < 2 {
		err = fmt.Errorf("it has %d images", len(images))
	}
	return err
}

func differ(want, got string) error {
	if want != got {
		return fmt.Errorf("the map before this makes\n%s", got)
	}
	return nil
}

// readsHostsDir checks that every containerd that starts with a configuration reads
// the default hosts_dir, beginning with the first that has its version.
func readsHostsDir(text string) error {
	first := map[int]string{2: "1.7", 3: "2.0", 4: "2.3"}
	for _, v := range containerdconfig.Lines() {
		c, err := containerdconfig.Effective(oneFile(text), mirror.DefaultContainerdConfig, v)
		version := 0
		if _, scanErr := fmt.Sscanf(text[strings.Index(text, "version"):], "version = %d", &version); scanErr != nil {
			return scanErr
		}
		oldest, parseErr := containerdconfig.ParseVersion(first[version])
		if parseErr != nil {
			return parseErr
		}
		switch {
		case v.OlderLine(oldest):
			if err == nil {
				return fmt.Errorf("containerd %s starts with it too", v)
			}
		case err != nil:
			return fmt.Errorf("containerd %s: %w", v, err)
		case c.NotReading(mirror.DefaultHostsDir) != nil:
			return fmt.Errorf("containerd %s: %v", v, c.NotReading(mirror.DefaultHostsDir))
		}
	}
	return nil
}

// oneFile is a node with nothing but a configuration of containerd.
type oneFile string

func (f oneFile) ReadFile(name string) ([]byte, error) {
	if name != mirror.DefaultContainerdConfig {
		return nil, fs.ErrNotExist
	}
	return []byte(f), nil
}

func (oneFile) Glob(string) ([]string, error) { return nil, nil }

// readsNodeConfig checks what a NodeConfig of EKS adds to containerd's
// configuration, which nodeadm writes as version 3.
func readsNodeConfig(text string) error {
	var config struct {
		Spec struct {
			Containerd struct{ Config string }
			Kubelet    struct{ Flags []string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	if len(config.Spec.Kubelet.Flags) == 0 {
		return fmt.Errorf("it has no flag for the kubelet")
	}
	return readsHostsDir("version = 3\n" + config.Spec.Containerd.Config)
}

// scrapes checks a scrape configuration of Prometheus: it has no unknown key, the job
// has the name that the rules of the alerts expect, and each rule about labels does
// something.
func scrapes(text string) error {
	var config struct {
		Jobs []struct {
			Name      string `yaml:"job_name"`
			Discovery []struct {
				Role string `yaml:"role"`
			} `yaml:"kubernetes_sd_configs"`
			Relabel []struct {
				From   []string `yaml:"source_labels"`
				Regex  string   `yaml:"regex"`
				Action string   `yaml:"action"`
				To     string   `yaml:"target_label"`
			} `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&config); err != nil {
		return err
	}
	if len(config.Jobs) != 1 || config.Jobs[0].Name != "mirrorcred" || len(config.Jobs[0].Discovery) != 1 || config.Jobs[0].Discovery[0].Role != "pod" {
		return fmt.Errorf("it is not one job \"mirrorcred\" of pods: %+v", config.Jobs)
	}
	for _, rule := range config.Jobs[0].Relabel {
		if len(rule.From) == 0 || (rule.To == "") == (rule.Action == "") {
			return fmt.Errorf("the relabel rule %+v does nothing", rule)
		}
	}
	return nil
}

// printed checks what a command prints, "$ COMMAND" and its output, on a node that
// a map was applied to, or that it will be applied to by the command itself.
func printed(t *testing.T, mirrorMap, text string) error {
	t.Helper()
	line, want, _ := strings.Cut(text, "\n")
	commands := commandLines(strings.TrimPrefix(line, "$ "))
	if len(commands) != 1 {
		return fmt.Errorf("%q is not one command of mirrorcred", line)
	}
	root := t.TempDir()
	if err := newRoot(root); err != nil {
		return err
	}
	file := filepath.Join(root, "map.toml")
	if err := os.WriteFile(file, []byte(mirrorMap), 0o644); err != nil {
		return err
	}
	flags := []string{"--root", root, "--map", file}
	if commands[0][0] != "apply" {
		if err := run(t.Context(), append([]string{"apply"}, flags...), new(strings.Builder)); err != nil {
			return err
		}
	}
	var got strings.Builder
	if err := run(t.Context(), append(commands[0], flags...), &got); err != nil {
		return err
	}
	if got.String() != want {
		return fmt.Errorf("it prints\n%s", got.String())
	}
	return nil
}

// isInExample checks that a piece of Go is in an example, which the compiler
// and a test have seen.
func isInExample(text string) error {
	files, err := filepath.Glob("../../*/example_test.go")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains(string(data), text) {
			return nil
		}
	}
	return fmt.Errorf("it is in none of %q", files)
}

// isRule checks that a rule of the cluster lets its nodes ask for the tokens that
// a map's credentials need.
func isRule(m *mirror.Map, text string) error {
	type object struct {
		Kind     string
		Metadata struct{ Name string }
		Rules    []struct{ Verbs, Resources []string }
		RoleRef  struct{ Kind, Name string } `yaml:"roleRef"`
		Subjects []struct{ Kind, Name string }
	}
	var role, binding object
	decoder := yaml.NewDecoder(strings.NewReader(text))
	if err := errors.Join(decoder.Decode(&role), decoder.Decode(&binding)); err != nil {
		return err
	}
	if role.Kind != "ClusterRole" || binding.Kind != "ClusterRoleBinding" || binding.RoleRef.Name != role.Metadata.Name || binding.RoleRef.Kind != role.Kind {
		return fmt.Errorf("the binding is not of the role")
	}
	if len(role.Rules) != 1 || len(binding.Subjects) != 1 || binding.Subjects[0].Name != "system:nodes" {
		return fmt.Errorf("it is not one rule for the nodes")
	}
	c, ok := m.Credential("workload")
	if rule := role.Rules[0]; !ok || c.Token == nil || !slices.Equal(rule.Verbs, []string{"request-serviceaccounts-token-audience"}) || !slices.Equal(rule.Resources, []string{c.Token.Audience}) {
		return fmt.Errorf("it allows %v, and the map needs that of %+v", rule, c.Token)
	}
	return nil
}

// kubeletConfig returns the kubelet's configuration that a map makes.
func kubeletConfig(t *testing.T, text string) string {
	t.Helper()
	root := t.TempDir()
	if err := newRoot(root); err != nil {
		t.Fatal(err)
	}
	n := node.New(root, filepath.Join(root, "map.toml"), false)
	if err := os.WriteFile(n.Map, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, mirror.DefaultKubeletConfig))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// rendered returns what a map makes for a namespace, without the header line.
func rendered(t *testing.T, m *mirror.Map, namespace string) string {
	t.Helper()
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Namespace == namespace {
			_, body, _ := strings.Cut(string(f.Data), "\n")
			return body
		}
	}
	return ""
}
