package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// A cluster holds ConfigMaps for the chart to look up.
type cluster struct{ maps []manifest }

func (c cluster) GetClientFor(_, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	if kind != "ConfigMap" {
		return nil, false, fmt.Errorf("the chart looks up a %s", kind)
	}
	var objects []runtime.Object
	for _, m := range c.maps {
		objects = append(objects, &unstructured.Unstructured{Object: m.fields})
	}
	lists := map[runtimeschema.GroupVersionResource]string{configMaps: "ConfigMapList"}
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...).Resource(configMaps), true, nil
}

var _ engine.ClientProvider = cluster{}

var configMaps = runtimeschema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// upgrade renders a map on top of the ConfigMaps that are there, and returns those that
// there are then: Helm removes what is not rendered. at is the time of the new one.
func (c cluster) upgrade(t *testing.T, text string, at int) (cluster, manifest) {
	t.Helper()
	list, err := render("../chart", fmt.Sprintf("%smap: %q\n", image, text), c)
	if err != nil {
		t.Fatal(err)
	}
	next := cluster{ofKind(list, "ConfigMap")}
	ages := map[string]any{}
	for _, m := range c.maps {
		ages[m.name()] = m.at("metadata", "creationTimestamp")
	}
	for _, m := range next.maps {
		age, known := ages[m.name()]
		if !known {
			age = fmt.Sprintf("2026-01-01T00:00:%02dZ", at)
		}
		m.fields["metadata"].(map[string]any)["creationTimestamp"] = age
	}
	return next, ofKind(list, "DaemonSet")[0]
}

// TestOldMaps rolls out six maps: beside the newest, the three before it stay, as they
// were.
func TestOldMaps(t *testing.T) {
	var there cluster
	var names []string
	contents := map[string]any{}
	for i := range 6 {
		var daemonSet manifest
		there, daemonSet = there.upgrade(t, fmt.Sprintf("version = 1\n# %d\n", i), i)
		names = slices.Insert(names, 0, there.maps[0].name())
		contents[names[0]] = there.maps[0].at("data")
		var got []string
		for _, m := range there.maps {
			got = append(got, m.name())
			if m.at("immutable") != true || !reflect.DeepEqual(m.at("data"), contents[m.name()]) {
				t.Errorf("%s changed, or may change: %v", m.name(), m.fields)
			}
		}
		if want := names[:min(4, len(names))]; !slices.Equal(got, want) {
			t.Errorf("after map %d there is %q; want %q", i, got, want)
		}
		if !strings.Contains(daemonSet.text, "name: "+names[0]+"\n") {
			t.Errorf("the DaemonSet does not mount %s", names[0])
		}
	}
	if back, _ := there.upgrade(t, "version = 1\n# 3\n", 7); back.maps[0].name() != names[2] || len(slices.Collect(maps.Values(contents))) != 6 {
		t.Errorf("an earlier map has the name %s; want %s", back.maps[0].name(), names[2])
	}
}
