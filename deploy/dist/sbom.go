package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A bom is a list of components as CycloneDX 1.6 has it
// (cyclonedx.org/docs/1.6/json). It has no serial number: that would be another one
// each time.
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     bomMetadata  `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type bomMetadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Ref     string    `json:"bom-ref"`
	Type    string    `json:"type"` // application or library
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Scope   string    `json:"scope,omitempty"`
	Hashes  []bomHash `json:"hashes,omitempty"`
	PURL    string    `json:"purl"`
}

type bomHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// writeSBOM writes which modules a program was linked from, by what its builds
// recorded: one list for all architectures.
func writeSBOM(dir, program string, r release) error {
	linked := map[string]component{}
	for _, arch := range arches {
		info, err := buildinfo.ReadFile(filepath.Join(dir, "linux_"+arch, program))
		if err != nil {
			return err
		}
		std := strings.TrimPrefix(info.GoVersion, "go")
		linked["std"] = component{Ref: purl("std", std), Type: "library", Name: "std", Version: std, Scope: "required", PURL: purl("std", std)}
		for _, m := range info.Deps {
			c, err := componentOf(m)
			if err != nil {
				return err
			}
			linked[m.Path] = c
		}
	}
	self := component{Ref: purl(module, r.version) + "#cmd/" + program, Type: "application", Name: program, Version: r.version, PURL: purl(module, r.version) + "#cmd/" + program}
	b := bom{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: bomMetadata{Timestamp: r.time.Format(time.RFC3339), Component: self},
	}
	root := dependency{Ref: self.Ref}
	for _, path := range slices.Sorted(maps.Keys(linked)) {
		b.Components = append(b.Components, linked[path])
		root.DependsOn = append(root.DependsOn, linked[path].Ref)
	}
	b.Dependencies = []dependency{root}
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, program+".cdx.json"), append(data, '\n'), 0o644)
}

// componentOf describes a module. Its sum is that of go.sum, a SHA-256 of the list
// of its files (golang.org/x/mod/sumdb/dirhash).
func componentOf(m *debug.Module) (component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	hash, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(hash) != 32 {
		return component{}, fmt.Errorf("module %s %s has no sum in the build; a release replaces no module by a directory", m.Path, m.Version)
	}
	return component{
		Ref: purl(m.Path, m.Version), Type: "library", Name: m.Path, Version: m.Version, Scope: "required",
		Hashes: []bomHash{{"SHA-256", hex.EncodeToString(hash)}}, PURL: purl(m.Path, m.Version),
	}, nil
}

// purl returns the package URL of a Go module (github.com/package-url/purl-spec).
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}
