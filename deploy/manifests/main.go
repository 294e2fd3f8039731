// Manifests writes what is generated in deploy: the schema of the chart's values, and
// the kustomize base, which is the chart rendered with its default values. Run it in
// deploy after a change of the chart or of the map's keys: go run ./manifests
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
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
