package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const repo = "../.."

// The releases that the tests install, one after the other.
var (
	older = release{"v1.0.0", "1.0.0", strings.Repeat("a", 40), time.Unix(1700000000, 0).UTC()}
	newer = release{"v1.1.0", "1.1.0", strings.Repeat("b", 40), time.Unix(1700003600, 0).UTC()}
)

// dirs are what is made of older and newer.
var dirs = map[string]string{}

// TestMain builds the programs once, and packs them as two releases. The plugin of
// the older one has some bytes more, which change nothing but its sum.
func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	work, err := os.MkdirTemp("", "dist-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	ctx := context.Background()
	for _, r := range []release{newer, older} {
		dir := filepath.Join(work, r.version)
		dirs[r.version] = dir
		for _, arch := range arches {
			programs := filepath.Join(dir, "linux_"+arch)
			if r == newer {
				err = build(ctx, repo, programs, arch, r)
			} else {
				err = copyOlder(filepath.Join(dirs[newer.version], "linux_"+arch), programs)
			}
			if err != nil {
				return 1, err
			}
		}
		if r == newer {
			err = pack(ctx, repo, dir, r)
		} else {
			err = packNative(ctx, dir, r)
		}
		if err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// packNative makes the archive and the packages for this machine alone.
func packNative(ctx context.Context, dir string, r release) error {
	texts, err := readTexts(ctx, repo, dir)
	if err != nil {
		return err
	}
	return packArch(repo, dir, runtime.GOARCH, r, texts)
}

// copyOlder copies the programs, and changes the plugin.
func copyOlder(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(to, plugin), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("older"); err != nil {
		return err
	}
	return f.Close()
}

// TestContents holds what a release consists of, that the programs need nothing of
// a node, and that they print what they were built from.
func TestContents(t *testing.T) {
	dir := dirs[newer.version]
	for _, file := range []string{
		"mirrorcred_v1.1.0_linux_amd64.tar.gz", "mirrorcred_v1.1.0_linux_arm64.tar.gz", "mirrorcred_1.1.0_amd64.deb", "mirrorcred_1.1.0_arm64.deb",
		"mirrorcred-1.1.0-1.x86_64.rpm", "mirrorcred-1.1.0-1.aarch64.rpm", "oci/index.json", "oci/oci-layout", "mirrorcred.cdx.json", plugin + ".cdx.json", "SHA256SUMS",
	} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, arch := range arches {
		for _, program := range programs {
			f, err := elf.Open(filepath.Join(dir, "linux_"+arch, program))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 || f.Machine != machines[arch] || f.Section(".interp") != nil {
				t.Errorf("%s for %s is of %v, with the libraries %q, %v; want a static program", program, arch, f.Machine, libraries, err)
			}
		}
	}
	out, err := exec.Command(filepath.Join(dir, "linux_"+runtime.GOARCH, name), "version", "--json").Output()
	want := fmt.Sprintf(`{"version":"v1.1.0","commit":"%s","go":"%s","target":"linux/%s"}`+"\n", newer.commit, runtime.Version(), runtime.GOARCH)
	if err != nil || string(out) != want {
		t.Errorf("version --json prints %s, %v; want %s", out, err, want)
	}
	cmd := exec.Command("sha256sum", "--check", "--strict", "--quiet", sumsFile)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// The sizes that a release must keep to, in bytes. They are a little above those of
// today, so that a program which grows by a tenth is noticed.
const (
	mostDeb   = 9_500_000
	mostImage = 22_000_000
)

// TestTags checks that a release, "make build" and the end-to-end tests have the same
// programs.
func TestTags(t *testing.T) {
	for name, line := range map[string]string{
		"Makefile":           "TAGS     = " + tags + "\n",
		"e2e/build/build.go": "ourTags = \"" + tags + "\"\n",
	} {
		if data, err := os.ReadFile(filepath.Join(repo, name)); err != nil || !strings.Contains(string(data), line) {
			t.Errorf("%s has no line %q: %v", name, line, err)
		}
	}
}

func TestSizes(t *testing.T) {
	dir := dirs[newer.version]
	info, err := os.Stat(filepath.Join(dir, "mirrorcred_1.1.0_amd64.deb"))
	if err != nil {
		t.Fatal(err)
	}
	var image int64
	err = filepath.WalkDir(filepath.Join(dir, imageDir), func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		image += info.Size()
		return err
	})
	t.Logf("deb for amd64 %d bytes, image for two architectures %d bytes", info.Size(), image)
	if err != nil || info.Size() > mostDeb || image > mostImage {
		t.Errorf("deb for amd64 %d bytes, want at most %d; image %d bytes, want at most %d; %v", info.Size(), mostDeb, image, mostImage, err)
	}
}

// TestImage has go-containerregistry check every digest and size, and looks at what
// a container gets.
func TestImage(t *testing.T) {
	index, err := layout.ImageIndexFromPath(filepath.Join(dirs[newer.version], imageDir))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range manifest.Manifests {
		platforms = append(platforms, d.Platform.String())
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != d.Platform.Architecture || !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/mirrorcred"}) || config.Config.Labels["org.opencontainers.image.revision"] != newer.commit {
			t.Errorf("%s: %+v, %v", d.Platform, config, err)
		}
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("the image is for %q; want %q", platforms, want)
	}
}

// TestSBOM holds that each list has exactly the modules that "go version -m" sees.
func TestSBOM(t *testing.T) {
	dir := dirs[newer.version]
	for _, program := range programs {
		data, err := os.ReadFile(filepath.Join(dir, program+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			BOMFormat, SpecVersion string
			Components             []struct{ Name, Version, PURL string }
		}
		if err := json.Unmarshal(data, &got); err != nil || got.BOMFormat != "CycloneDX" || got.SpecVersion != "1.6" {
			t.Fatalf("%s: %v %+v", program, err, got)
		}
		var listed []string
		for _, c := range got.Components {
			if c.Name != "std" {
				listed = append(listed, c.Name+" "+c.Version)
			}
			if c.PURL != "pkg:golang/"+c.Name+"@"+strings.ReplaceAll(c.Version, "+", "%2B") {
				t.Errorf("%s: purl %s of %s", program, c.PURL, c.Name)
			}
		}
		var want []string
		for _, arch := range arches {
			out, err := exec.Command("go", "version", "-m", filepath.Join(dir, "linux_"+arch, program)).Output()
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(out)) {
				if f := strings.Fields(line); f[0] == "dep" {
					want = append(want, f[1]+" "+f[2])
				}
			}
		}
		slices.Sort(want)
		if want = slices.Compact(want); len(want) < 5 || !slices.Equal(listed, want) {
			t.Errorf("%s lists %q; want %q", program, listed, want)
		}
	}
}

// TestPackAgain packs the same programs again, and gets the same bytes. "make
// dist-same" builds the programs again too, elsewhere and from nothing.
func TestPackAgain(t *testing.T) {
	dir, first := t.TempDir(), dirs[newer.version]
	at := "linux_" + runtime.GOARCH
	if err := os.CopyFS(filepath.Join(dir, at), os.DirFS(filepath.Join(first, at))); err != nil {
		t.Fatal(err)
	}
	if err := packNative(t.Context(), dir, newer); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, name+"*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("made %q, %v; want an archive and two packages", files, err)
	}
	for _, file := range files {
		again, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(filepath.Join(first, filepath.Base(file)))
		if err != nil || !bytes.Equal(before, again) {
			t.Errorf("%s differs the second time: %v", filepath.Base(file), err)
		}
	}
}

// TestPackageVersion has dpkg compare what the versions of Git become.
func TestPackageVersion(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	var before string
	for _, version := range []string{"0123456789ab", "v0.9.0", "v1.0.0-rc.1", "v1.0.0-rc.1-3-gabc", "v1.0.0", "v1.0.0-12-g0123456789ab", "v1.0.0-12-g0123456789ab-dirty", "v1.0.1"} {
		got, err := packageVersion(version, at)
		if err != nil {
			t.Fatal(err)
		}
		if before != "" {
			if err := exec.Command("dpkg", "--compare-versions", before, "lt", got).Run(); err != nil {
				t.Errorf("%s becomes %s, which is not after %s: %v", version, got, before, err)
			}
		}
		before = got
	}
	if got, err := packageVersion("v1 2", at); err == nil {
		t.Errorf("a version with a blank becomes %s", got)
	}
}

// TestReplace holds that a directory is replaced whole, and never another program's.
func TestReplace(t *testing.T) {
	fill := func(dir string) error { return os.WriteFile(filepath.Join(dir, sumsFile), nil, 0o644) }
	out := filepath.Join(t.TempDir(), "dist")
	for range 2 {
		if err := replace(out, fill); err != nil {
			t.Fatal(err)
		}
	}
	if err := replace(out, func(string) error { return os.ErrInvalid }); err == nil {
		t.Error("no error of the content")
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
		t.Errorf("there is %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(out, sumsFile)); err != nil {
		t.Errorf("a release was lost to a fault: %v", err)
	}
	theirs := t.TempDir()
	if err := os.WriteFile(filepath.Join(theirs, "thesis"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replace(theirs, fill); err == nil || !strings.Contains(err.Error(), "remove it, or name another") {
		t.Errorf("another program's directory: %v", err)
	}
}
