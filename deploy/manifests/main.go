// Manifests writes what is generated in deploy: the schema of the chart's values, and
// the kustomize base, which is the chart rendered with its default values. Run it in
// deploy after a change of the chart or of the map's keys: go run ./manifests
//
// "go run ./manifests render CHART VALUES" prints the chart's objects for a file of
// values, as "helm template" does.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = run(".")
	case len(args) == 3 && args[0] == "render":
		err = printChart(args[1], args[2])
	default:
		err = errors.New("write no argument, or: render CHART VALUES")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

// printChart prints the objects of a chart.
func printChart(chart, values string) error {
	data, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	list, err := render(chart, string(data), nil)
	for _, m := range list {
		fmt.Printf("---\n%s", m.text)
	}
	return err
}

// run writes the generated files below deploy.
func run(deploy string) error {
	files, err := generate(deploy)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(deploy, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the generated files by their paths below deploy.
func generate(deploy string) (map[string][]byte, error) {
	schema, err := valuesSchema()
	if err != nil {
		return nil, err
	}
	files, err := kustomizeBase(filepath.Join(deploy, "chart"))
	if err != nil {
		return nil, err
	}
	files["chart/values.schema.json"] = schema
	return files, nil
}
