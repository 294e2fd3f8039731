package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// loaderSource is a program that each line of containerd must be linked into:
// its module cannot be required twice.
//
//go:embed testdata/loader
var loaderSource embed.FS

// Loader returns the directory with the loader of a version of containerd: the
// program "loader", which says what that version makes of configuration files.
//
// It links that version's own code that reads, merges and migrates them, and the
// CRI's plugins, which judge the result. What those go on to once they have
// judged, the rest of containerd, is replaced with empty packages: this builds
// in seconds. [WholeLoader] is the same program without that.
func Loader(ctx context.Context, version string, log io.Writer) (string, error) {
	major := containerdMajor(version)
	files, err := sourceFiles(loaderSource, "testdata/loader/", append(loaderSteps(version), "cri"+major+".go", "empty"+major+".txtar"))
	if err != nil {
		return "", err
	}
	empty := txtar.Parse(files["empty"+major+".txtar"])
	return cachedSource("loader-"+version, files, log, func(dir string) error {
		return withModule(containerdModule(version), version, func(source string) error {
			if err := writeEmpty(ctx, source, version, log, empty); err != nil {
				return err
			}
			return buildProgram(ctx, source, version, files, log, dir, "loader")
		})
	})
}

// WholeLoader returns the directory with a loader that links every plugin that
// the version's containerd links. It takes about as long to build as that.
func WholeLoader(ctx context.Context, version string, log io.Writer) (string, error) {
	files, err := sourceFiles(loaderSource, "testdata/loader/", append(loaderSteps(version), "all"+containerdMajor(version)+".go"))
	if err != nil {
		return "", err
	}
	return cachedSource("loader-whole-"+version, files, log, func(dir string) error {
		return withModule(containerdModule(version), version, func(source string) error {
			return buildProgram(ctx, source, version, files, log, dir, "loader")
		})
	})
}

// loaderSteps returns the files with the steps that a version takes.
func loaderSteps(version string) []string {
	switch {
	case containerdMajor(version) == "1":
		return []string{"loader.go", "v1.go"}
	case strings.HasPrefix(version, "2.0."), strings.HasPrefix(version, "2.1."), strings.HasPrefix(version, "2.2."):
		return []string{"loader.go", "plugins2.go", "v2.go"}
	}
	return []string{"loader.go", "plugins2.go", "v23.go"}
}

func containerdMajor(version string) string {
	major, _, _ := strings.Cut(version, ".")
	return major
}

// sourceFiles returns the files of a program below dir.
func sourceFiles(source embed.FS, dir string, names []string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range names {
		data, err := source.ReadFile(dir + name)
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

// cachedSource is cached for a program whose source is here: it is built again when
// that changes.
func cachedSource(name string, files map[string][]byte, log io.Writer, build func(dir string) error) (string, error) {
	source, err := json.Marshal(files)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(source)
	return cached(fmt.Sprintf("%s-%x", name, sum[:6]), log, build)
}

// buildProgram builds as containerd itself is built, so that what is compiled
// serves both.
func buildProgram(ctx context.Context, source, version string, files map[string][]byte, log io.Writer, dir, name string) error {
	for file, data := range files {
		if filepath.Ext(file) != ".go" {
			continue
		}
		if err := os.WriteFile(filepath.Join(source, file), data, 0o644); err != nil {
			return err
		}
	}
	return inModule(ctx, source, version, log, filepath.Join(dir, name), ".")
}

// writeEmpty has the module at source use a copy of containerd in which the
// archive's files stand for its own. A file is named by its path in
// containerd's module, or by its import path if it is of another module.
func writeEmpty(ctx context.Context, source, version string, log io.Writer, empty *txtar.Archive) error {
	module := containerdModule(version)
	own, err := moduleSource(ctx, module, version, log)
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(source, "containerd"), os.DirFS(own)); err != nil {
		return err
	}
	replace := fmt.Sprintf("\nreplace %s => ./containerd\n", module)
	for _, f := range empty.Files {
		path := filepath.Join("containerd", f.Name)
		if host, _, below := strings.Cut(f.Name, "/"); below && strings.Contains(host, ".") {
			path = f.Name
		}
		if err := writeFile(filepath.Join(source, path), f.Data); err != nil {
			return err
		}
		if other, ok := strings.CutSuffix(f.Name, "/go.mod"); ok {
			replace += fmt.Sprintf("\nreplace %s => ./%s\n", other, other)
		}
	}
	mod, err := os.OpenFile(filepath.Join(source, "go.mod"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = mod.WriteString(replace)
	return errors.Join(err, mod.Close())
}

// writeFile writes a file. One named empty.go is then the only one of its package.
func writeFile(path string, data []byte) error {
	if filepath.Base(path) == "empty.go" {
		others, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.go"))
		if err != nil {
			return err
		}
		for _, other := range others {
			if err := os.Remove(other); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// moduleSource returns the directory of a module's source, which is got first.
func moduleSource(ctx context.Context, module, version string, log io.Writer) (string, error) {
	var out bytes.Buffer
	c := command(ctx, log, "mod", "download", "-json", module+"@v"+version)
	c.Dir, c.Stdout = os.TempDir(), &out
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("go mod download %s: %w %s", module, err, out.String())
	}
	var got struct{ Dir string }
	err := json.Unmarshal(out.Bytes(), &got)
	return got.Dir, err
}
