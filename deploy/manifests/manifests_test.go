package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// image are the values that a chart cannot do without.
var image = "image: {repository: contoso.azurecr.io/mirrorcred, digest: \"sha256:" + strings.Repeat("a", 64) + "\"}\n"

func mustRender(t *testing.T, values string) []manifest {
	t.Helper()
	list, err := render("../chart", values, nil)
	if err != nil {
		t.Fatalf("%v\nvalues:\n%s", err, values)
	}
	return list
}

func ofKind(list []manifest, kind string) []manifest {
	return slices.DeleteFunc(slices.Clone(list), func(m manifest) bool { return m.kind() != kind })
}

// TestGenerated holds that the generated files are those of this commit.
func TestGenerated(t *testing.T) {
	files, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current (%v); run: go run ./manifests", name, err)
		}
	}
	kept, err := filepath.Glob("../kustomize/base/*")
	if err != nil || len(kept) != len(files)-1 {
		t.Errorf("kustomize/base has %q, %v; want %d files", kept, err, len(files)-1)
	}
}

// TestKustomizeIsTheChart holds that the kustomize base has the objects of the chart,
// but for the names that kustomize makes itself.
func TestKustomizeIsTheChart(t *testing.T) {
	var kustomization struct {
		Resources          []string
		Images             []any
		Namespace          string
		ConfigMapGenerator []struct {
			Name    string
			Files   []string
			Options struct {
				Immutable bool
				Labels    map[string]any
			}
		}
	}
	read := func(name string, into any) {
		t.Helper()
		data, err := os.ReadFile("../kustomize/base/" + name)
		if err == nil {
			data = bytes.ReplaceAll(data, []byte("managed-by: kustomize"), []byte("managed-by: Helm"))
			err = yaml.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read("kustomization.yaml", &kustomization)
	data, err := os.ReadFile("../kustomize/base/mirrors.toml")
	if err != nil || len(kustomization.ConfigMapGenerator) != 1 {
		t.Fatalf("%+v, %v", kustomization, err)
	}
	want := map[string]map[string]any{}
	var mapName string
	for _, m := range mustRender(t, baseValues) {
		want[m.kind()] = m.fields
		if m.kind() == "ConfigMap" {
			mapName = m.name()
		}
	}
	generated := kustomization.ConfigMapGenerator[0]
	got := map[string]map[string]any{"ConfigMap": {
		"apiVersion": "v1", "kind": "ConfigMap", "immutable": generated.Options.Immutable, "data": map[string]any{"mirrors.toml": string(data)},
		"metadata": map[string]any{"name": mapName, "namespace": kustomization.Namespace, "labels": generated.Options.Labels},
	}}
	for _, file := range kustomization.Resources {
		var fields map[string]any
		read(file, &fields)
		text, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		fields = nil
		if err := yaml.Unmarshal(bytes.ReplaceAll(text, []byte(generated.Name), []byte(mapName)), &fields); err != nil {
			t.Fatal(err)
		}
		got[fields["kind"].(string)] = fields
	}
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(got[kind], want[kind]) {
			t.Errorf("%s: kustomize has %v; the chart %v", kind, got[kind], want[kind])
		}
	}
}

// TestExamples renders the values in the packages and in the documents, and has the
// parser read their maps.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %q, %v", files, err)
	}
	var all []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(data))
	}
	doc, err := os.ReadFile("../../docs/rollout.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(doc), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if block = strings.Replace(block, "sha256:…", "sha256:"+strings.Repeat("a", 64), 1); i > 0 {
			block = image + block
		}
		all = append(all, block)
	}
	if len(all) < 4 {
		t.Errorf("only %d examples", len(all))
	}
	for _, values := range all {
		for _, m := range ofKind(mustRender(t, values), "ConfigMap") {
			if _, err := mirror.Parse(m.name(), []byte(m.field("data", "mirrors.toml"))); err != nil {
				t.Errorf("%v\n%s", err, m.text)
			}
		}
	}
}

// TestRights holds what a pod may do by default: no capability, no namespace of the
// host, two host paths for the container that stays, and nothing at the API server.
func TestRights(t *testing.T) {
	list := mustRender(t, image)
	if kinds := kindsOf(list); !slices.Equal(kinds, []string{"ConfigMap", "DaemonSet", "ServiceAccount"}) {
		t.Errorf("rendered %q; want no rights", kinds)
	}
	spec := podOf(t, ofKind(list, "DaemonSet")[0])
	for _, key := range []string{"hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace"} {
		if v, ok := spec[key]; ok {
			t.Errorf("%s is %v", key, v)
		}
	}
	if spec["automountServiceAccountToken"] != false || spec["priorityClassName"] != "system-node-critical" {
		t.Errorf("the pod is %v", spec)
	}
	for _, c := range slices.Concat(containers(spec, "initContainers"), containers(spec, "containers")) {
		want := map[string]any{
			"runAsUser": float64(0), "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
			"capabilities": map[string]any{"drop": []any{"ALL"}},
		}
		if got := c["securityContext"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %v; want %v", c["name"], got, want)
		}
	}
	want := map[string]string{
		"courier": "/etc/mirrorcred/delivered rw, /run/mirrorcred/status ro",
		"install": "/etc/mirrorcred/delivered rw, /usr/local/lib/mirrorcred rw, /etc/systemd/system rw, /run/dbus ro",
	}
	if got := hostPaths(spec); !maps.Equal(got, want) {
		t.Errorf("the host's paths are %q; want %q", got, want)
	}
	if without := hostPaths(podOf(t, ofKind(mustRender(t, image+"installer: {enabled: false}\n"), "DaemonSet")[0])); len(without) != 1 {
		t.Errorf("without the installer there are %q", without)
	}
}

// TestReportingRights holds that a Lease takes two verbs, and nothing else.
func TestReportingRights(t *testing.T) {
	list := mustRender(t, image+"reporting: {enabled: true}\n")
	want := []string{"ConfigMap", "DaemonSet", "Role", "RoleBinding", "ServiceAccount", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
	if kinds := kindsOf(list); !slices.Equal(kinds, want) {
		t.Errorf("rendered %q; want %q", kinds, want)
	}
	rules := ofKind(list, "Role")[0].at("rules")
	if want := []any{map[string]any{"apiGroups": []any{"coordination.k8s.io"}, "resources": []any{"leases"}, "verbs": []any{"create", "patch"}}}; !reflect.DeepEqual(rules, want) {
		t.Errorf("the rules are %v; want %v", rules, want)
	}
	spec := podOf(t, ofKind(list, "DaemonSet")[0])
	for _, c := range slices.Concat(containers(spec, "initContainers"), containers(spec, "containers")) {
		hasToken := strings.Contains(fmt.Sprint(c["volumeMounts"]), "/var/run/secrets/kubernetes.io/serviceaccount")
		if isCourier := c["name"] == "courier"; hasToken != isCourier {
			t.Errorf("%s has the token: %v", c["name"], hasToken)
		}
	}
}

// TestSettings holds what single values change.
func TestSettings(t *testing.T) {
	for values, want := range map[string]string{
		"installer: {appArmorUnconfined: true}\n":           "appArmorProfile:\n              type: Unconfined",
		"installer: {bake: true}\n":                         "- --bake\n",
		"seLinux: true\n":                                   "seLinuxOptions:\n              type: spc_t",
		"watchFlags: --tick=10s\n":                          "- --watch-flags=--tick=10s\n",
		"maxUnavailable: 3\n":                               "maxUnavailable: 3\n",
		"imagePullSecrets: [{name: pull}]\n":                "imagePullSecrets:\n        - name: pull\n",
		"podAnnotations: {a: b}\n":                          "a: b\n        mirrorcred.io/allowed:",
		"rings: [{name: a, minReadySeconds: 0}]\n":          "minReadySeconds: 0\n",
		"allowed: \"version = 1\\n# $(NODE_NAME)\\n\"\n":    "mirrorcred.io/allowed: \"version = 1\\n# $(NODE_NAME)\\n\"\n",
		"configMapAnnotations: {example.com/keep: \"y\"}\n": "annotations:\n    example.com/keep: \"y\"\n",
	} {
		var all strings.Builder
		for _, m := range mustRender(t, image+values) {
			all.WriteString(m.text)
		}
		if !strings.Contains(all.String(), want) {
			t.Errorf("%s renders\n%s\nwithout %q", values, &all, want)
		}
	}
	for _, m := range ofKind(mustRender(t, image+"allowed: null\n"), "DaemonSet") {
		if strings.Contains(m.text, "allowed") {
			t.Errorf("allowed: null renders\n%s", m.text)
		}
	}
}

// TestRefused holds what the chart refuses, each with its remedy.
func TestRefused(t *testing.T) {
	for values, want := range map[string]string{
		"":                             "image.repository is not set; write",
		"image: {repository: a.b/c}\n": "image.digest is not set; write",
		"image: {repository: a.b/c, digest: sha256:12}\n":                         "/image/digest",
		image + "restartKubelet: true\n":                                          `the ring "default" has no nodes; write`,
		image + "rings: [{name: default}]\n":                                      `cannot have the name "default"`,
		image + "rings: [{name: a}, {name: a}]\n":                                 `the name "a" is there twice`,
		image + "map: {mirrors: []}\n":                                            "/map",
		image + "map: {kubelet: {running: \"no\"}}\n":                             "/map",
		image + "map: \"version\"\n":                                              `the map of ring "default" is not TOML`,
		image + "nodez: 3\n":                                                      "nodez",
		image + "map: {mirror: [{source: contoso.azurecr.io, targets: [a.b]}]}\n": "push the image to a registry that the map does not mirror",
		image + "map: \"[[mirror]]\\nsource = 'CONTOSO.azurecr.io'\"\n":           "push the image to a registry that the map does not mirror",
		image + "map: {mirror: [{source: \"*\", targets: [a.b]}]}\n":              "push the image to a registry that the map does not mirror",
		"image: {repository: library/mirrorcred, tag: v1}\nmap: {mirror: [{source: index.docker.io, targets: [a.b]}]}\n": "its registry docker.io is a source",
	} {
		_, err := render("../chart", values, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("values %s: %v; want an error with %q", values, err, want)
		}
	}
	// A registry with an entry of its own is served as itself, also beside "*".
	mustRender(t, image+"map: {mirror: [{source: \"*\", targets: [contoso.azurecr.io/any]}], registry: {contoso.azurecr.io: {}}}\n")
	mustRender(t, image+"map: {mirror: [{source: docker.io, targets: [contoso.azurecr.io/hub]}]}\n")
}

func kindsOf(list []manifest) []string {
	var kinds []string
	for _, m := range list {
		kinds = append(kinds, m.kind())
	}
	slices.Sort(kinds)
	return kinds
}

func podOf(t *testing.T, m manifest) map[string]any {
	t.Helper()
	spec, ok := m.at("spec", "template", "spec").(map[string]any)
	if !ok {
		t.Fatalf("no pod in\n%s", m.text)
	}
	return spec
}

func containers(spec map[string]any, key string) []map[string]any {
	var list []map[string]any
	all, _ := spec[key].([]any)
	for _, c := range all {
		list = append(list, c.(map[string]any))
	}
	return list
}

// hostPaths returns the host's paths that each container has, with what it may do
// there.
func hostPaths(spec map[string]any) map[string]string {
	paths := map[string]string{}
	for _, v := range containers(spec, "volumes") {
		if host, ok := v["hostPath"].(map[string]any); ok {
			paths[v["name"].(string)] = host["path"].(string)
		}
	}
	list := map[string]string{}
	for _, c := range slices.Concat(containers(spec, "initContainers"), containers(spec, "containers")) {
		var of []string
		for _, m := range containers(c, "volumeMounts") {
			if path, ok := paths[m["name"].(string)]; ok {
				mode := " rw"
				if m["readOnly"] == true {
					mode = " ro"
				}
				of = append(of, path+mode)
			}
		}
		if of != nil {
			list[c["name"].(string)] = strings.Join(of, ", ")
		}
	}
	return list
}
