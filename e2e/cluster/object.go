package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"
)

// An Object is any object of Kubernetes.
type Object map[string]any

// Text returns the text at a place such as "status", "phase", or "" if there is none.
func (o Object) Text(place ...string) string {
	var at any = map[string]any(o)
	for _, key := range place {
		m, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = m[key]
	}
	text, _ := at.(string)
	return text
}

// Into decodes the object into the value that v points to.
func (o Object) Into(v any) error {
	data, err := yaml.Marshal(o)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(data, v)
}

// Pod returns the path of a pod.
func Pod(namespace, name string) string {
	return "/api/v1/namespaces/" + namespace + "/pods/" + name
}

// Node is the path of the one node.
const Node = "/api/v1/nodes/node"

// Exists is the condition that an object is there.
func Exists(Object) error { return nil }

// Ready is the condition that a pod or a node is ready.
func Ready(o Object) error { return Condition("Ready")(o) }

// Condition is the condition that one of an object's own conditions is true.
func Condition(name string) func(Object) error {
	return func(o Object) error {
		var list struct {
			Status struct {
				Conditions []struct{ Type, Status, Reason, Message string }
			}
		}
		if err := o.Into(&list); err != nil {
			return err
		}
		for _, one := range list.Status.Conditions {
			if one.Type == name && one.Status == "True" {
				return nil
			}
			if one.Type == name {
				return fmt.Errorf("condition %s is %s: %s %s", name, one.Status, one.Reason, one.Message)
			}
		}
		return fmt.Errorf("it has no condition %s", name)
	}
}

// Apply creates or updates the objects of a manifest in YAML, in order. The API
// server refuses fields that it does not know.
func (c *Client) Apply(ctx context.Context, manifest string) error {
	return c.apply(ctx, manifest, url.Values{})
}

// DryRun has the API server judge a manifest as [Client.Apply] would have it, without
// keeping anything.
func (c *Client) DryRun(ctx context.Context, manifest string) error {
	return c.apply(ctx, manifest, url.Values{"dryRun": {"All"}})
}

func (c *Client) apply(ctx context.Context, manifest string, options url.Values) error {
	options.Set("fieldManager", "e2e")
	options.Set("force", "true")
	options.Set("fieldValidation", "Strict")
	for _, document := range strings.Split("\n"+manifest, "\n---") {
		var o Object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			return fmt.Errorf("%w in\n%s", err, document)
		}
		if len(o) == 0 {
			continue
		}
		path, err := c.path(ctx, o)
		if err != nil {
			return err
		}
		err = c.send(ctx, http.MethodPatch, path+"?"+options.Encode(), "application/apply-patch+yaml", []byte(document), nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// path asks the API server where objects of this kind are, and returns the path of
// this one, which is in the namespace "default" if it names none and needs one.
func (c *Client) path(ctx context.Context, o Object) (string, error) {
	version, kind, name := o.Text("apiVersion"), o.Text("kind"), o.Text("metadata", "name")
	if version == "" || kind == "" || name == "" {
		return "", errors.New("an object needs apiVersion, kind and metadata.name")
	}
	group := "/apis/" + version
	if !strings.Contains(version, "/") {
		group = "/api/" + version
	}
	var list struct {
		Resources []struct {
			Name, Kind string
			Namespaced bool
		}
	}
	if err := c.Do(ctx, http.MethodGet, group, nil, &list); err != nil {
		return "", err
	}
	for _, r := range list.Resources {
		if r.Kind != kind || strings.Contains(r.Name, "/") {
			continue
		}
		if !r.Namespaced {
			return group + "/" + r.Name + "/" + name, nil
		}
		namespace := o.Text("metadata", "namespace")
		if namespace == "" {
			namespace = "default"
		}
		return group + "/namespaces/" + namespace + "/" + r.Name + "/" + name, nil
	}
	return "", fmt.Errorf("%s has no kind %q", version, kind)
}

// Events returns what was reported of an object, a line each, for a test that failed.
func (c *Client) Events(ctx context.Context, namespace, name string) string {
	var list struct {
		Items []struct{ Type, Reason, Message string }
	}
	selector := url.QueryEscape("involvedObject.name=" + name)
	if err := c.Do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/events?fieldSelector="+selector, nil, &list); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range list.Items {
		fmt.Fprintf(&b, "%s %s: %s\n", e.Type, e.Reason, e.Message)
	}
	return b.String()
}
