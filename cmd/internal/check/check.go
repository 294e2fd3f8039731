// Package check finds everything on a node that would make a pull fail or go to
// the wrong registry, each with its repair.
//
// It judges the plan that "mirrorcred apply" would carry out, so the two never
// disagree. It also judges what other programs' files mean to containerd and to
// the kubelet. The names and severities of the findings are in package doctor.
// It changes nothing. Start at [Node].
package check

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Finding is what package doctor found, and how much it matters.
type Finding struct {
	Severity doctor.Severity `json:"severity"`
	doctor.Finding
}

// Options say where to look.
type Options struct {
	Root string // "" is the machine itself; else all paths are below it
	Map  string // the map; "" is the usual one
	// Version is that of this program; "" if it does not matter.
	Version string
	// Watcher asks the watcher of this machine about itself. It is called if the
	// watcher should run here; nil means that it is not asked.
	Watcher func(context.Context) (Watcher, error)
	// Deliverer tells what is known of "mirrorcred deliver" on this machine. It is called
	// if the map needs it; nil means that it does not matter.
	Deliverer func(context.Context) Deliverer
	// Probe asks the registries of the map; nil means that they are not asked.
	Probe func(context.Context, *mirror.Map) []doctor.Finding
}

// A Watcher is what a watcher reports about itself.
type Watcher struct {
	Version  string
	Degraded string // why it does not notice all changes of files, "" if it does
}

// Node checks a node. It returns each finding once, errors first.
func Node(ctx context.Context, o Options) []Finding { return newVisit(o).node(ctx, o) }

// node makes all checks.
func (v *visit) node(ctx context.Context, o Options) []Finding {
	n := node.New(o.Root, o.Map, false)
	todo, err := n.Plan(ctx)
	v.plan(todo, err)
	m, _ := n.ParseMap() // the plan has reported why it does not parse
	v.watcher(ctx, o, m)
	v.kubeadmFlags()
	v.identity()
	if m == nil {
		return v.sorted()
	}
	if o.Deliverer != nil && n.NeedsRegistries(m) {
		v.deliverer(ctx, o, m)
	}
	v.plugin(m.Kubelet.BinDir)
	if err == nil {
		v.stopped(n.Stopped(todo))
	}
	v.isPinned = v.pinned(ctx, m.Containerd.Address)
	v.ownImages = v.own(ctx, m.Containerd.Address)
	v.containerd(m)
	v.ownImage(m, n.Map)
	v.ctr(m)
	v.tree(m)
	entries := v.providers(m.Kubelet.Config)
	v.poisoned(entries)
	v.tokens(m, n.Map, entries)
	v.kubeletStart(m)
	v.metadata(m)
	v.nodeadm(m)
	v.readOnly(m)
	v.labels(m, n.Map)
	v.clock(m, n.Map)
	if o.Probe != nil {
		v.found = append(v.found, o.Probe(ctx, m)...)
	}
	return v.sorted()
}

// A visit collects findings.
type visit struct {
	root  string
	in    *input.Root
	found []doctor.Finding

	// Tests replace these, because they depend on the machine.
	now        time.Time
	arch       elf.Machine // of this machine; EM_NONE below another root, which may be of any
	kubelets   func() []kubelet.Kubelet
	isReadOnly func(dir string) bool
	label      func(file string) string
	isPinned   func(image string) bool // nil if no containerd can be asked
	ownImages  func() []string         // of mirrorcred's pods here; nil likewise
}

// newVisit returns a visit to the machine itself, or to the files below a root.
func newVisit(o Options) *visit {
	v := &visit{root: strings.TrimSuffix(o.Root, "/"), in: input.NewRoot(o.Root), now: time.Now()}
	v.isReadOnly, v.label = v.statReadOnly, v.readLabel
	v.kubelets = func() []kubelet.Kubelet { return nil }
	if v.root == "" {
		v.arch = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
		v.kubelets = sync.OnceValue(func() []kubelet.Kubelet {
			seen, _ := kubelet.Running(process.Proc) // the plan says why they cannot be seen
			return seen.Kubelets
		})
	}
	return v
}

// pinned returns a function that asks this machine's containerd whether it has pinned an
// image; nil if no containerd is asked.
func (v *visit) pinned(ctx context.Context, socket string) func(image string) bool {
	if v.isPinned != nil || v.root != "" {
		return v.isPinned
	}
	return func(image string) bool {
		is, err := containerd.IsPinned(ctx, socket, image)
		return err == nil && is
	}
}

// own returns a function that asks this machine's containerd for the images of
// mirrorcred's pods; nil if no containerd is asked.
func (v *visit) own(ctx context.Context, socket string) func() []string {
	if v.ownImages != nil || v.root != "" {
		return v.ownImages
	}
	return func() []string {
		images, _ := containerd.OwnImages(ctx, socket)
		return images
	}
}

func (v *visit) at(parts ...string) string {
	return filepath.Join(append([]string{v.root, "/"}, parts...)...)
}

func (v *visit) add(name, where, text, repair string) {
	v.found = append(v.found, doctor.Finding{Name: name, Where: where, Text: text, Repair: repair})
}

// missed reports what could not be checked.
func (v *visit) missed(path string, err error) {
	var at *fs.PathError
	if errors.As(err, &at) {
		path, err = at.Path, at.Err
	}
	repair := "check it yourself"
	if errors.Is(err, fs.ErrPermission) {
		repair = "run this as root"
	}
	v.add(doctor.NotLookedAt, path, fmt.Sprintf("this could not be checked: %v", err), repair)
}

// says reports whether a finding has everything that another one has, and more.
func says(more, f doctor.Finding) bool {
	switch f.Name {
	case doctor.Conflict:
		rest, in := strings.CutPrefix(more.Where, f.Where)
		return more.Name != doctor.Conflict && more.Name != doctor.NotADirectory && in && f.Where != "" && (rest == "" || rest[0] == '/' || rest[0] == ':')
	case doctor.NotADirectory:
		return more.Name == doctor.Conflict && more.Where == f.Where
	case doctor.ClientMissing, doctor.ClientNotValid:
		return more.Name == hosts.ClientFlatPair && strings.HasPrefix(more.Where, f.Where+":")
	case doctor.NotDelivered, doctor.CredentialNotRenewed:
		return more.Name == doctor.DeliverNotRunning && f.Repair == plan.SeeDeliverLog // no registry gave a reason
	case doctor.ShadowedDirectory:
		return more.Name == doctor.DirectoryIgnored && more.Where == f.Where
	case doctor.DockerStyleIgnored:
		return more.Name == doctor.CertificatesIgnored && more.Where == f.Where
	}
	return false
}

// sorted returns each finding once, errors first. Of two about one place it keeps the
// more exact one.
func (v *visit) sorted() []Finding {
	list := []Finding{}
	for _, f := range v.found {
		if slices.ContainsFunc(v.found, func(other doctor.Finding) bool { return says(other, f) }) {
			continue
		}
		one := Finding{doctor.SeverityOf(f.Name), f}
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	rank := map[doctor.Severity]int{doctor.Error: 0, doctor.Warning: 1, doctor.Note: 2}
	slices.SortStableFunc(list, func(a, b Finding) int { return rank[a.Severity] - rank[b.Severity] })
	return list
}
