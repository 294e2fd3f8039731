package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A tree is files by their paths, absolute if they are for a node.
type tree map[string]entry

// An entry is a file, or a directory without data.
type entry struct {
	data []byte
	mode fs.FileMode
}

// paths returns the paths in order.
func (t tree) paths() []string { return slices.Sorted(maps.Keys(t)) }

// texts are the files beside the programs, which are the same for every
// architecture, by their names in the list of [readTexts].
type texts struct {
	units       map[string][]byte // by the name of the file
	tmpfiles    []byte
	completions map[string][]byte // by the shell
	manuals     map[string][]byte // by the program
	docs        tree              // below /usr/share/doc/mirrorcred
}

// readTexts asks the manager for its units, completions and manual, and reads the
// documents of the checkout.
func readTexts(ctx context.Context, repo, dir string) (texts, error) {
	native := filepath.Join(dir, "linux_"+runtime.GOARCH)
	if runtime.GOOS != "linux" || !slices.Contains(arches, runtime.GOARCH) {
		return texts{}, fmt.Errorf("a release is made on %s, but the manager runs on Linux, amd64 or arm64, and prints its units itself; make it there", runtime.GOOS+"/"+runtime.GOARCH)
	}
	native, err := filepath.Abs(native)
	if err != nil {
		return texts{}, err
	}
	ask := func(program string, args ...string) ([]byte, error) {
		out, err := exec.CommandContext(ctx, filepath.Join(native, program), args...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
		}
		return out, nil
	}
	t := texts{completions: map[string][]byte{}, manuals: map[string][]byte{}}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if t.completions[shell], err = ask(name, "completion", shell); err != nil {
			return texts{}, err
		}
	}
	if t.manuals[name], err = ask(name, "completion", "man"); err != nil {
		return texts{}, err
	}
	help, err := ask(plugin, "--help")
	if err != nil {
		return texts{}, err
	}
	t.manuals[plugin] = manual(help)
	if err := t.readUnits(ask); err != nil {
		return texts{}, err
	}
	t.docs, err = readDocs(repo)
	return t, err
}

// readUnits has the manager install its units below an empty directory.
func (t *texts) readUnits(ask func(program string, args ...string) ([]byte, error)) error {
	root, err := os.MkdirTemp("", "dist-units-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if _, err := ask(name, "units", "--install", "--root", root, "--program", managerPath); err != nil {
		return err
	}
	t.units = map[string][]byte{}
	files, err := filepath.Glob(root + "/etc/systemd/system/*")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("the manager installed no units: %v", err)
	}
	for _, file := range files {
		if t.units[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	t.tmpfiles, err = os.ReadFile(root + "/etc/tmpfiles.d/mirrorcred.conf")
	return err
}

// readDocs reads the documents, and the examples of maps.
func readDocs(repo string) (tree, error) {
	docs := tree{}
	for _, pattern := range []string{"README.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md", "docs/*.svg", "deploy/examples/*.toml", "deploy/examples/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(repo, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s has no %s; run this on a whole checkout", repo, pattern)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			in := map[string]string{"deploy": "examples", "docs": "docs"}[strings.Split(pattern, "/")[0]]
			docs[path.Join(in, filepath.Base(file))] = entry{data, 0o644}
		}
	}
	license, err := os.ReadFile(filepath.Join(repo, "LICENSE"))
	docs["copyright"] = entry{license, 0o644}
	return docs, err
}

// Where things are on a node.
const (
	managerPath = "/usr/bin/" + name
	pluginPath  = "/usr/libexec/" + name + "/" + plugin
	docDir      = "/usr/share/doc/" + name
)

// programsOf returns the programs of an architecture where a node has them.
func programsOf(dir, arch string) (tree, error) {
	t := tree{}
	for program, place := range map[string]string{name: managerPath, plugin: pluginPath} {
		data, err := os.ReadFile(filepath.Join(dir, "linux_"+arch, program))
		if err != nil {
			return nil, err
		}
		t[place] = entry{data, 0o755}
	}
	return t, nil
}

// install returns all files of a package. Debian has a directory of its own for
// completions of zsh that packages bring.
func install(dir, format, arch string, texts texts) (tree, error) {
	t, err := programsOf(dir, arch)
	if err != nil {
		return nil, err
	}
	text := func(place string, data []byte) { t[place] = entry{data, 0o644} }
	for unit, data := range texts.units {
		text("/usr/lib/systemd/system/"+unit, data)
	}
	text("/usr/lib/tmpfiles.d/mirrorcred.conf", texts.tmpfiles)
	text("/usr/share/bash-completion/completions/"+name, texts.completions["bash"])
	zsh := map[string]string{"deb": "vendor-completions"}[format]
	text("/usr/share/zsh/"+cmp.Or(zsh, "site-functions")+"/_"+name, texts.completions["zsh"])
	text("/usr/share/fish/vendor_completions.d/"+name+".fish", texts.completions["fish"])
	for program, data := range texts.manuals {
		packed, err := gzipped(data)
		if err != nil {
			return nil, err
		}
		text("/usr/share/man/man1/"+program+".1.gz", packed)
	}
	for at, e := range texts.docs {
		t[path.Join(docDir, at)] = e
	}
	// rpm removes the directories that a package lists, dpkg those that become empty.
	for _, dir := range []string{"/etc/mirrorcred", path.Dir(pluginPath), docDir, docDir + "/docs", docDir + "/examples"} {
		t[dir] = entry{nil, fs.ModeDir | 0o755}
	}
	return t, nil
}

// gzipped returns data as gzip has it, without a name and a time.
func gzipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// manual makes a manual page of the plugin's help.
func manual(help []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\"\n.SH NAME\n%s \\- the credential plugin that mirrorcred gives the kubelet\n.SH DESCRIPTION\n.nf\n",
		strings.ToUpper(strings.ReplaceAll(plugin, "-", `\-`)), name, strings.ReplaceAll(plugin, "-", `\-`))
	for line := range strings.Lines(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(string(help))) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`)
		}
		b.WriteString(line)
	}
	b.WriteString(".fi\n.SH SEE ALSO\n.BR mirrorcred (1)\n")
	return []byte(b.String())
}
