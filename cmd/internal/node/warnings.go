package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// warn adds the findings of package doctor to a plan. Every file that it checks
// is watched, even a missing one: it may come or go at any time.
func (n *Node) warn(p *plan.Plan, d plan.Desired, o plan.Observed, logins []doctor.Login) {
	facts := doctor.Facts{
		Map: d.Map, MapFile: d.MapFile, OpenMap: !n.closed, Delivered: n.source.Delivered,
		Files: map[string]doctor.File{}, Docker: map[string]doctor.Keys{},
		KubeletConfig: n.path(d.Map.Kubelet.Config), Others: p.Next.Others.List,
		NodeConfigs: n.nodeConfigs(o.Running), Flags: n.flags(d.Map.Kubelet, p.Wants), Leftovers: n.oldTrees(&p.Next), Logins: logins,
	}
	for _, c := range d.Map.Credentials {
		n.credentialFiles(&facts, c)
	}
	for _, one := range o.Clients {
		facts.Clients = append(facts.Clients, doctor.Lifetime{Credential: one.File, From: one.From, Until: one.Until})
	}
	p.Warnings = append(p.Warnings, doctor.Check(&facts)...)
	p.Lifetimes = doctor.Lifetimes(&facts)
}

// credentialFiles checks the files that the map's credentials need.
func (n *Node) credentialFiles(facts *doctor.Facts, c mirror.Credential) {
	switch c.Kind {
	case mirror.Azure:
		f, data := n.inspectFile(c.File)
		if f.Err == nil && f.Fault == "" {
			n.readAzure(&f, data)
		}
		facts.Files[c.File] = f
		if c.Binding != nil {
			facts.Files[c.Binding.CA], _ = n.inspectFile(c.Binding.CA)
		}
	case mirror.DockerConfig:
		f, data := n.inspectFile(c.File)
		if f.Err == nil && f.Fault == "" {
			keys, err := dockerconfig.Parse(f.Path, data)
			if err == nil {
				facts.Docker[c.File] = keys
				n.helpers(facts, keys.Helpers())
			} else {
				f.Fault = strings.TrimPrefix(err.Error(), f.Path+":")
			}
		}
		facts.Files[c.File] = f
	case mirror.Exec:
		f := doctor.File{Path: n.watch(c.Command)}
		info, err := n.tree.Stat(f.Path)
		if f.Err = bare(err); err == nil {
			f.Mode = info.Mode()
		}
		facts.Files[c.Command] = f
	}
}

// readAzure reads what an azure.json says about the node's identity.
func (n *Node) readAzure(f *doctor.File, data []byte) {
	file, err := azurejson.Read(data)
	if err != nil {
		f.Fault = err.Error()
		return
	}
	f.Azure = &doctor.AzureFile{HasSecret: file.HasSecret()}
	if suffix, public := file.Suffix(); public {
		f.Azure.Suffix = suffix
	}
	if err := file.Incomplete(); err != nil {
		f.Azure.Lacks = err.Error()
	}
	if !file.ByCertificate() {
		return
	}
	if _, data := n.inspectFile(file.CertPath); data != nil {
		if cert, ok := azurejson.Certificate(data, file.CertPassword); ok {
			f.Azure.From, f.Azure.Until = cert.NotBefore, cert.NotAfter
		}
	}
}

// helperDirs are where the kubelet finds programs, unless its unit sets PATH:
// what systemd gives as PATH (systemd.exec(5)), and what snaps add.
var helperDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin"}

// helpers finds docker credential helpers.
func (n *Node) helpers(facts *doctor.Facts, names []string) {
	for _, name := range names {
		if facts.Helpers == nil {
			facts.Helpers = map[string]bool{}
		}
		for _, dir := range helperDirs {
			info, err := n.tree.Stat(n.watch(dir, "docker-credential-"+filepath.Base(name)))
			if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				facts.Helpers[name] = true
			}
		}
	}
}

// watch returns the path on this machine of a path on the node, and adds it to
// the watched ones.
func (n *Node) watch(parts ...string) string {
	path := n.path(parts...)
	n.inputs.warned = append(n.inputs.warned, path)
	return path
}

// inspectFile reads a file of the node that a warning may be about. A file of
// another user than root is a fault: the plugin does not use it.
func (n *Node) inspectFile(path string) (doctor.File, []byte) {
	f := doctor.File{Path: n.watch(path)}
	data, info, err := n.tree.Read(f.Path, 0)
	if f.Err = bare(err); err == nil {
		f.Mode = info.Mode()
		if uid, is := input.Stranger(info); is {
			f.Fault = fmt.Sprintf("it belongs to user %d, so the plugin does not use it; run: chown root %s", uid, f.Path)
		}
	}
	return f, data
}

// bare removes the operation and the path from an error.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// maxLeftovers is how many namespaces of an old tree are searched for.
const maxLeftovers = 20

// oldTrees checks what is left in directories that hosts_dir named before, and
// forgets the empty ones.
func (n *Node) oldTrees(next *plan.State) []doctor.Leftover {
	var list []doctor.Leftover
	var kept []string
	for _, dir := range next.OldTrees {
		l := doctor.Leftover{Dir: n.path(dir)}
		entries, err := n.readDir(l.Dir)
		n.watch(dir, "*")
		for _, e := range entries {
			if len(l.Namespaces) > maxLeftovers {
				break
			}
			data, err := n.tree.ReadFile(filepath.Join(l.Dir, e.Name(), hosts.FileName), 0)
			if err == nil && hosts.OwnerOf(data) != hosts.Foreign {
				l.Namespaces = append(l.Namespaces, e.Name())
			}
		}
		if err != nil || len(l.Namespaces) > 0 {
			list, kept = append(list, l), append(kept, dir)
		}
	}
	next.OldTrees = kept
	return list
}
