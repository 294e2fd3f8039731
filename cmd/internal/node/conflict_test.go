package node

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const portMap = `version = 1
[[mirror]]
source = "harbor.src:5000"
targets = ["contoso.azurecr.io"]
[[mirror]]
source = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
`

const certsDir = "/etc/containerd/certs.d"

// warnings returns the warnings of a plan about what other programs have put
// there, a line each.
func warnings(p plan.Plan) string {
	about := []string{"directory-adopted", "directory-ignored", "certificates-ignored", "default-of-another-program", "registries-yaml-unreadable"}
	var b strings.Builder
	for _, w := range p.Warnings {
		if slices.Contains(about, w.Name) {
			fmt.Fprintf(&b, "%s\n", w)
		}
	}
	return b.String()
}

// TestOtherProgramsFilesInPlace puts what other programs may have written in the place of a
// source's hosts.toml, or beside it: containerd reads that until --adopt, the
// other sources go on, and what was adopted is kept.
func TestOtherProgramsFilesInPlace(t *testing.T) {
	const foreign = "server = \"https://old.example\"\n"
	tests := map[string]struct {
		files map[string]string // below certs.d; "" is a directory
		left  string            // how what is left begins; "" for nothing
		adopt string            // a part of what is warned of at adoption
		kept  []string          // below adopted, each a pattern
	}{
		"host:port with a hosts.toml": {
			files: map[string]string{"harbor.src:5000/hosts.toml": foreign},
			left:  `left /etc/containerd/certs.d/harbor.src:5000/hosts.toml: containerd reads it for "harbor.src:5000", and mirrorcred did not write it`,
			adopt: `/harbor.src:5000: containerd does not read it for "harbor.src:5000" any more; it stays`,
			kept:  []string{"harbor.src:5000-*/hosts.toml"},
		},
		"host:port with a CA only": {
			files: map[string]string{"harbor.src:5000/ca.crt": "PEM"},
			left:  `left /etc/containerd/certs.d/harbor.src:5000: containerd uses ca.crt in it for "harbor.src:5000", and a hosts.toml would end that; if a target needs them, write ca = ["/etc/containerd/certs.d/harbor.src:5000/ca.crt"] under the [registry] of that target`,
			adopt: `; if a target needs them, write ca = ["/etc/containerd/certs.d/harbor.src:5000/ca.crt"] under`,
			kept:  []string{"harbor.src:5000-*/ca.crt"},
		},
		"host:port with a pair, and other files": {
			files: map[string]string{"harbor.src:5000/c.cert": "C", "harbor.src:5000/c.key": "K", "harbor.src:5000/README": "R"},
			left:  `left /etc/containerd/certs.d/harbor.src:5000: containerd uses c.cert, c.key in it`,
			adopt: `write client = [["/etc/containerd/certs.d/harbor.src:5000/c.cert", "/etc/containerd/certs.d/harbor.src:5000/c.key"]] under`,
			kept:  []string{"harbor.src:5000-*/c.cert", "harbor.src:5000-*/c.key"},
		},
		"half of a pair": {
			files: map[string]string{"harbor.src:5000/c.key": "K"},
			left:  `left /etc/containerd/certs.d/harbor.src:5000: c.key in it may be half of a pair`,
			adopt: "it stays",
			kept:  []string{"harbor.src:5000-*/c.key"},
		},
		"a CA where our first hosts.toml would go": {
			files: map[string]string{"harbor.src_5000_/ca.crt": "PEM"},
			left:  `left /etc/containerd/certs.d/harbor.src_5000_: containerd uses ca.crt in it`,
			adopt: `write ca = ["/etc/containerd/certs.d/harbor.src_5000_/ca.crt"]`,
			kept:  []string{"harbor.src_5000_-*/ca.crt"},
		},
		"a CA beside an empty hosts.toml": {
			files: map[string]string{"harbor.src_5000_/ca.crt": "PEM", "harbor.src_5000_/hosts.toml": "\x00empty"},
			left:  `left /etc/containerd/certs.d/harbor.src_5000_: containerd uses ca.crt in it`,
			adopt: "write ca =",
			kept:  []string{"harbor.src_5000_-*/ca.crt"},
		},
		"a CA beside a hosts.toml that containerd refuses": {
			files: map[string]string{"harbor.src_5000_/ca.crt": "PEM", "harbor.src_5000_/hosts.toml": "server = \"https://old"},
			left:  `left /etc/containerd/certs.d/harbor.src_5000_/hosts.toml: mirrorcred did not write it`,
			adopt: "write ca =",
			kept:  []string{"harbor.src_5000_-*/ca.crt", "harbor.src_5000_-*.toml"},
		},
		"a CA beside a hosts.toml that containerd reads": {
			files: map[string]string{"harbor.src_5000_/ca.crt": "PEM", "harbor.src_5000_/hosts.toml": foreign},
			left:  `left /etc/containerd/certs.d/harbor.src_5000_/hosts.toml: mirrorcred did not write it`,
			kept:  []string{"harbor.src_5000_-*/ca.crt", "harbor.src_5000_-*.toml"},
		},
		"an empty directory":                  {files: map[string]string{"harbor.src:5000": "", "mcr.microsoft.com": ""}},
		"an empty hosts.toml":                 {files: map[string]string{"harbor.src:5000/hosts.toml": "\x00empty"}},
		"what containerd does not look for":   {files: map[string]string{"Harbor.src:5000/hosts.toml": foreign, "harbor.src./ca.crt": "PEM", "harbor.src/hosts.toml": foreign, "mcr.microsoft.com:443/hosts.toml": foreign}},
		"host:port behind ours, not in force": {files: map[string]string{"harbor.src:5000/ca.crt": "PEM", "harbor.src_5000_": ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, portMap)
			for file, text := range test.files {
				if text == "" {
					mkdir(t, n.path(certsDir, file))
					continue
				}
				write(t, n.path(certsDir, file), strings.TrimPrefix(text, "\x00empty"))
			}
			before := tree(t, n.path(certsDir), true)
			todo := apply(t, n)
			wantLeft(t, todo, test.left)
			wantRouted(t, n, "mcr.microsoft.com", "contoso")
			if test.left == "" {
				wantRouted(t, n, "harbor.src_5000_", "contoso")
				return
			}
			for file, text := range before {
				if now := tree(t, n.path(certsDir), true)[file]; now != text {
					t.Errorf("%s is %q; want it to stay as it was", file, now)
				}
			}
			if offers, err := decided(t, n, "harbor.src:5000"); err == nil && len(offers) > 0 {
				t.Errorf("the answer is %v; want none, since another program's directory is in force", offers)
			}
			wantAdopted(t, n, before, test.adopt, test.kept)
		})
	}
}

// wantAdopted adopts what is there and holds what comes of it.
func wantAdopted(t *testing.T, n *Node, before map[string]string, warned string, kept []string) {
	t.Helper()
	n.Adopt = true
	todo := apply(t, n)
	n.Adopt = false
	wantLeft(t, todo, "")
	wantRouted(t, n, "harbor.src_5000_", "contoso")
	if !strings.Contains(warnings(todo), warned) || warned == "" && warnings(todo) != "" {
		t.Errorf("at the adoption:\n%swant: %s", warnings(todo), warned)
	}
	var copies []string
	for _, pattern := range kept {
		found, err := filepath.Glob(n.path(plan.SavedDir, pattern))
		if err != nil || len(found) != 1 {
			t.Errorf("copies of %s: %q, %v; want one", pattern, found, err)
			continue
		}
		copies = append(copies, found[0])
		if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want the mode 0600", found[0], info.Mode(), err)
		}
	}
	for path := range tree(t, n.path(plan.SavedDir), true) {
		if strings.Count(path, "/") > 1 && !slices.Contains(copies, n.path(plan.SavedDir, path)) && !strings.HasSuffix(path, "hosts.toml") {
			t.Errorf("%s is kept too", path)
		}
	}
	// Nothing of theirs is lost: what is not mirrorcred's file stays.
	after := tree(t, n.path(certsDir), true)
	for file := range before {
		if _, ok := after[file]; !ok {
			t.Errorf("%s is gone", file)
		}
	}
	// From then on it is no longer reported, and what is deleted comes back.
	if todo := apply(t, n); len(todo.Changes) > 0 || warnings(todo) != "" {
		t.Errorf("the next run changes %d files and warns:\n%s", len(todo.Changes), warnings(todo))
	}
	if err := os.Remove(n.path(certsDir, "harbor.src_5000_/hosts.toml")); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "harbor.src_5000_", "contoso")
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestNotADirectory puts something else than a directory where containerd looks for a source:
// it is reported, with and without --adopt, and stops no other source.
func TestNotADirectory(t *testing.T) {
	link := func(to string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		make        func(t *testing.T, path string)
		own, beside string // how the reason begins; "" for none
	}{
		"a file":                        {func(t *testing.T, path string) { write(t, path, "") }, "it is not a directory; remove it", "it is not a directory, and containerd looks there"},
		"a link to a file":              {func(t *testing.T, path string) { write(t, path+".to", ""); link(path+".to")(t, path) }, "it is not a directory; remove it", "it is not a directory, and"},
		"a circle":                      {func(t *testing.T, path string) { link(path)(t, path) }, "it, or hosts.toml in it, is a symbolic link that leads to itself", "it, or hosts.toml in it, is a symbolic link that leads to itself, and"},
		"a dangling link":               {link("/nowhere"), "it is a symbolic link; remove it", ""},
		"a link to an empty directory":  {func(t *testing.T, path string) { mkdir(t, path+".to"); link(path+".to")(t, path) }, "it is a symbolic link; remove it", ""},
		"hosts.toml is a directory":     {func(t *testing.T, path string) { mkdir(t, path+"/hosts.toml") }, "hosts.toml in it is a directory, not a file; remove it", "hosts.toml in it is a directory, not a file, and"},
		"hosts.toml is a dangling link": {func(t *testing.T, path string) { mkdir(t, path); link("/nowhere")(t, path+"/hosts.toml") }, "hosts.toml in it is a symbolic link that leads nowhere; remove it", "hosts.toml in it is a symbolic link that leads nowhere, and"},
	}
	for name, test := range tests {
		for place, want := range map[string]string{"harbor.src_5000_": test.own, "harbor.src:5000": test.beside} {
			t.Run(name+"/"+place, func(t *testing.T) {
				n, _ := newNode(t, portMap)
				mkdir(t, n.path(certsDir))
				test.make(t, n.path(certsDir, place))
				before := tree(t, n.path(certsDir), true)
				for _, adopt := range []bool{false, true} {
					n.Adopt = adopt
					todo := apply(t, n)
					if got := summary(todo); want == "" && got != "" || want != "" && !strings.Contains(got, ": "+want) {
						t.Errorf("adopt %t, the plan leaves:\n%swant: %s", adopt, got, want)
					}
				}
				wantRouted(t, n, "mcr.microsoft.com", "contoso")
				after := tree(t, n.path(certsDir), true)
				for path, text := range before {
					if path != "" && after[path] != text {
						t.Errorf("%s = %q; want %q", path, after[path], text)
					}
				}
			})
		}
	}
}

// TestUnreadable has a hosts.toml that cannot be read, or a route that is not a file:
// that is a conflict of its source alone, or of none if the map does not name it,
// and such a route is written anew.
func TestUnreadable(t *testing.T) {
	const two = "\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"TARGET.azurecr.io\"]\n"
	const certs = "/etc/containerd/certs.d"
	huge := func(path string) error { return errorsOf(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<40)) }
	instead := func(put func(path string) error) func(string) error {
		return func(path string) error { return errorsOf(os.Remove(path), put(path)) }
	}
	for name, test := range map[string]struct {
		path string
		do   func(path string) error
		left string
	}{
		"huge hosts.toml": {certs + "/quay.io/hosts.toml", huge, "left " + certs + "/quay.io: hosts.toml in it cannot be read: this file is larger than 8 MiB"},
		"a huge hosts.toml of no source of the map": {certs + "/other.io/hosts.toml", huge, ""},
		"a huge route":                    {plan.RoutesDir + "/quay.io.json", huge, ""},
		"a FIFO for a route":              {plan.RoutesDir + "/quay.io.json", instead(func(p string) error { return syscall.Mkfifo(p, 0o600) }), ""},
		"a route that leads nowhere":      {plan.RoutesDir + "/quay.io.json", instead(func(p string) error { return os.Symlink("nowhere", p) }), ""},
		"a route that leads to itself":    {plan.RoutesDir + "/quay.io.json", instead(func(p string) error { return os.Symlink("quay.io.json", p) }), ""},
		"a FIFO for a route of no source": {plan.RoutesDir + "/other.io.json", func(p string) error { return syscall.Mkfifo(p, 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap+strings.ReplaceAll(two, "TARGET", "contoso"))
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			if err := errorsOf(os.MkdirAll(filepath.Dir(n.path(test.path)), 0o755), test.do(n.path(test.path))); err != nil {
				t.Fatal(err)
			}
			wantLeft(t, applyMap(t, n, otherMap+strings.ReplaceAll(two, "TARGET", "fabrikam")), test.left)
			wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
			if test.left == "" {
				wantRouted(t, n, "quay.io", "fabrikam.azurecr.io")
				if offers, err := decided(t, n, "quay.io"); err != nil || len(offers) != 1 {
					t.Errorf("the answer is %v, %v", offers, err)
				}
			}
		})
	}
}

// TestLinkedBeside checks that containerd follows a link to another program's
// directory, and so does the search for conflicts.
func TestLinkedBeside(t *testing.T) {
	n, _ := newNode(t, portMap)
	write(t, n.path("/etc/docker/certs.d/harbor/ca.crt"), "PEM")
	mkdir(t, n.path(certsDir))
	if err := os.Symlink(n.path("/etc/docker/certs.d/harbor"), n.path(certsDir, "harbor.src:5000")); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "left /etc/containerd/certs.d/harbor.src:5000: containerd uses ca.crt in it")
	n.Adopt = true
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "harbor.src_5000_", "contoso")
	if found, err := filepath.Glob(n.path(plan.SavedDir, "harbor.src:5000-*/ca.crt")); err != nil || len(found) != 1 {
		t.Errorf("copies: %q, %v; want one", found, err)
	}
}

// TestUndoneByHand takes the source out of the map after an adoption: what was
// there before is in force again.
func TestUndoneByHand(t *testing.T) {
	n, _ := newNode(t, portMap)
	write(t, n.path(certsDir, "harbor.src:5000/ca.crt"), "PEM")
	before := tree(t, n.path(certsDir), true)
	n.Adopt = true
	apply(t, n)
	n.Adopt = false
	applyMap(t, n, emptyMap)
	apply(t, n)
	after := tree(t, n.path(certsDir), true)
	if !maps.Equal(after, before) {
		t.Errorf("the tree is %q; want %q", after, before)
	}
	// And it is asked for anew.
	wantLeft(t, applyMap(t, n, portMap), "left /etc/containerd/certs.d/harbor.src:5000: ")
}

// TestComesLater puts files beside mirrors that are in force: a warning each.
func TestComesLater(t *testing.T) {
	n, _ := newNode(t, portMap)
	apply(t, n)
	write(t, n.path(certsDir, "mcr.microsoft.com/ca.crt"), "PEM")
	write(t, n.path(certsDir, "harbor.src:5000/hosts.toml"), "server = \"https://old.example\"\n")
	for range 2 {
		todo := apply(t, n)
		wantLeft(t, todo, "")
		for _, want := range []string{
			`/etc/containerd/certs.d/mcr.microsoft.com: containerd does not use ca.crt in it for "mcr.microsoft.com", because there is a hosts.toml; if a target needs them, write ca = ["/etc/containerd/certs.d/mcr.microsoft.com/ca.crt"] under the [registry] of that target in the map, else remove them`,
			`/etc/containerd/certs.d/harbor.src:5000: containerd does not read it for "harbor.src:5000", because it finds harbor.src_5000_ first; move what it says into the map and remove it`,
		} {
			if !strings.Contains(warnings(todo), want+"\n") {
				t.Errorf("the warnings are:\n%swant: %s", warnings(todo), want)
			}
		}
	}
	// A CA that the map names lies well where it is.
	applyMap(t, n, portMap+"[registry.\"contoso.azurecr.io\"]\nca = \"/etc/containerd/certs.d/mcr.microsoft.com/ca.crt\"\n")
	if todo := apply(t, n); strings.Contains(warnings(todo), "mcr.microsoft.com") {
		t.Errorf("the warnings are:\n%swant none for a file that the map names", warnings(todo))
	}
}

// TestDefaultOfAnother checks that another program's _default is a conflict for
// "*" alone, and is noted once if sources leave it.
func TestDefaultOfAnother(t *testing.T) {
	for file, text := range map[string]string{"hosts.toml": "server = \"https://old.example\"\n", "ca.crt": "PEM"} {
		t.Run(file, func(t *testing.T) {
			n, _ := newNode(t, portMap)
			write(t, n.path(certsDir, "_default", file), text)
			todo := apply(t, n)
			wantLeft(t, todo, "")
			want := "/etc/containerd/certs.d/_default: another program wrote it, and containerd does not read it any more for \"harbor.src:5000\" and 1 more sources of the map, which the map serves; for other registries it does\n"
			if got := warnings(todo); got != want {
				t.Errorf("the warnings are:\n%swant:\n%s", got, want)
			}
			if todo := apply(t, n); warnings(todo) != "" {
				t.Errorf("the next run warns again:\n%s", warnings(todo))
			}
			todo = applyMap(t, n, portMap+"[[mirror]]\nsource = \"*\"\ntargets = [\"contoso.azurecr.io/any\"]\n")
			wantLeft(t, todo, "left /etc/containerd/certs.d/_default")
			n.Adopt = true
			wantLeft(t, apply(t, n), "")
			wantRouted(t, n, "_default", "contoso")
		})
	}
}

// TestManyBeside checks that with many mirrors a watcher finds what is beside one
// of them, and goes on to see it.
func TestManyBeside(t *testing.T) {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for i := range 3 * mostBesides {
		fmt.Fprintf(&b, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [\"mirror.example\"]\n", i)
	}
	n, _ := newNode(t, b.String())
	apply(t, n)
	write(t, n.path(certsDir, "r17.example/ca.crt"), "PEM")
	passes := 0
	for ; warnings(apply(t, n)) == ""; passes++ {
		if passes == 200 {
			t.Fatal("200 passes do not find it") // which by chance is one in 10^35
		}
	}
	for range 3 {
		if warnings(apply(t, n)) == "" {
			t.Error("it is not seen any more")
		}
	}
}
