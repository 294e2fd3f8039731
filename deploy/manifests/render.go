package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// The release and the namespace that the manifests are rendered for.
const (
	release   = "mirrorcred"
	namespace = "mirrorcred"
)

// A manifest is one object of the cluster: its text with the comments, and its fields.
type manifest struct {
	text   string
	fields map[string]any
}

func (m manifest) kind() string { return m.field("kind") }
func (m manifest) name() string { return m.field("metadata", "name") }

// field returns the text at a path, "" if there is none.
func (m manifest) field(path ...string) string {
	s, _ := m.at(path...).(string)
	return s
}

// at returns the value at a path, nil if there is none.
func (m manifest) at(path ...string) any {
	var v any = m.fields
	for _, key := range path {
		table, _ := v.(map[string]any)
		v = table[key]
	}
	return v
}

// render renders the chart with values in YAML, as "helm template" does. If cluster is
// not nil, the chart may look into it, as "helm upgrade" lets it.
func render(dir, values string, cluster engine.ClientProvider) ([]manifest, error) {
	c, err := loader.Load(dir)
	if err != nil {
		return nil, err
	}
	given, err := common.ReadValues([]byte(values))
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: release, Namespace: namespace}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := renderFiles(c, all, cluster)
	if err != nil {
		return nil, err
	}
	var list []manifest
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		more, err := split(files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, more...)
	}
	return list, nil
}

func renderFiles(c *chart.Chart, values common.Values, cluster engine.ClientProvider) (map[string]string, error) {
	if cluster == nil {
		return engine.Render(c, values)
	}
	return engine.RenderWithClientProvider(c, values, cluster)
}

// split returns the objects of a file.
func split(file string) ([]manifest, error) {
	var list []manifest
	for _, text := range strings.Split("\n"+file, "\n---\n") {
		text = strings.Trim(text, "\n") + "\n"
		var fields map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &fields); err != nil {
			return nil, err
		}
		if len(fields) > 0 {
			list = append(list, manifest{text, fields})
		}
	}
	return list, nil
}
