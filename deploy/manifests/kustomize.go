package main

import (
	"fmt"
	"strings"
)

// baseMap is the ConfigMap of the kustomize base. kustomize adds the hash of its content
// to the name.
const baseMap = "mirrorcred-map"

// baseValues are the values that the kustomize base is rendered with. A kustomization on
// top of it sets the image.
const baseValues = `image: {repository: mirrorcred, tag: set-me}`

const kustomization = `# Generated from the chart by "go run ./manifests"; do not edit. Use it like this:
#
#   resources: [".../deploy/kustomize/base"]
#   images:
#     - name: mirrorcred
#       newName: contoso.azurecr.io/mirrorcred
#       digest: sha256:...
#   configMapGenerator:
#     - name: mirrorcred-map
#       behavior: replace
#       files: [mirrors.toml]
#       options: {immutable: true}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: mirrorcred
resources:
%sconfigMapGenerator:
  - name: mirrorcred-map
    files: [mirrors.toml]
    options:
      immutable: true
      labels:
        app.kubernetes.io/name: mirrorcred
        app.kubernetes.io/instance: mirrorcred
        app.kubernetes.io/managed-by: kustomize
        mirrorcred.io/ring: default
`

// kustomizeBase returns the files of the kustomize base: the chart with its default
// values, one file an object.
func kustomizeBase(chart string) (map[string][]byte, error) {
	list, err := render(chart, baseValues, nil)
	if err != nil {
		return nil, err
	}
	var rendered, data string
	for _, m := range list {
		if m.kind() == "ConfigMap" {
			rendered, data = m.name(), m.field("data", "mirrors.toml")
		}
	}
	files, names := map[string][]byte{"kustomize/base/mirrors.toml": []byte(data)}, ""
	for _, m := range list {
		if m.kind() == "ConfigMap" {
			continue
		}
		file := strings.ToLower(m.kind()) + ".yaml"
		names += fmt.Sprintf("  - %s\n", file)
		text := strings.NewReplacer(rendered, baseMap, "managed-by: Helm", "managed-by: kustomize").Replace(m.text)
		files["kustomize/base/"+file] = []byte("# Generated from the chart by \"go run ./manifests\"; do not edit.\n" + text)
	}
	files["kustomize/base/kustomization.yaml"] = fmt.Appendf(nil, kustomization, names)
	return files, nil
}
