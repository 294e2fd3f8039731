package doctor

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Namespace is a directory of containerd's tree as it was found.
type Namespace struct {
	Name  string
	Path  string      // of the directory
	Hosts []byte      // the hosts.toml in it; nil if there is none
	Mode  fs.FileMode // of hosts.toml
	Files []string    // names of all files in it
	Fault string      // why hosts.toml could not be read; "" if it could
	NoDir string      // why it is not a directory; "" if it is one
}

// Tree reports what in a tree of hosts.toml files does not do what it seems to, for
// containerd v, in the order of the tree. mapped reports whether the map names a source.
func Tree(list []Namespace, v hosts.Version, mapped func(host string) bool) []Finding {
	there := map[string]bool{}
	for _, ns := range list {
		there[ns.Name] = true
	}
	var found []Finding
	for _, ns := range list {
		found = append(found, ns.findings(v, there, mapped)...)
	}
	return found
}

func (ns Namespace) findings(v hosts.Version, there map[string]bool, mapped func(string) bool) []Finding {
	file := path.Join(ns.Path, hosts.FileName)
	host := ns.host()
	if ns.NoDir != "" {
		return ns.noDir()
	}
	if ns.Fault != "" {
		return []Finding{{HostsUnreadable, file, ns.Fault + ", so every pull of " + host + " fails", "put a file there that root can read, or remove it"}}
	}
	if picked, ok := hosts.Pick(host, func(name string) bool { return there[name] }); ok && picked != ns.Name && ns.Name != hosts.Default {
		return []Finding{{ShadowedDirectory, ns.Path, fmt.Sprintf("containerd reads %s for %s and ignores this directory", picked, host), "remove one of the two"}}
	}
	var found []Finding
	if strings.ToLower(ns.Name) != ns.Name {
		found = append(found, Finding{CaseOrPortSpelling, ns.Path, fmt.Sprintf("containerd looks for a directory as an image spells its host, so this one is for images of %q alone", host), "write the directory and the images in lower case"})
	}
	if ns.Hosts == nil {
		return append(found, ns.without(there)...)
	}
	for _, r := range hosts.Remarks(ns.Hosts, v) {
		where := file
		if r.Line > 0 {
			where = fmt.Sprintf("%s:%d", file, r.Line)
		}
		found = append(found, Finding{r.Name, where, r.Text, r.Repair})
	}
	switch owner := hosts.OwnerOf(ns.Hosts); {
	case owner == hosts.Edited:
		found = append(found, Finding{EditedFile, file, "the file was changed after mirrorcred wrote it, so no credential is returned for " + host, "mirrorcred apply --adopt, which keeps a copy"})
	case owner == hosts.Foreign && mapped(hosts.HostOf(ns.Name)):
		repair := "mirrorcred apply --adopt, which keeps a copy, or remove the source from the map"
		if hosts.IsGeneratedByOther(ns.Hosts) {
			repair = "remove the source from the map, or from the settings of the program that generates this file"
		}
		found = append(found, Finding{ForeignFile, file, fmt.Sprintf("another program wrote it, and the map names %s: it stays in force, and no credential is returned", hosts.HostOf(ns.Name)), repair})
	}
	if unnamed := ns.unnamed(v); len(unnamed) > 0 {
		found = append(found, Finding{DockerStyleIgnored, ns.Path, fmt.Sprintf("containerd ignores %s beside a hosts.toml", strings.Join(unnamed, ", ")), "name them by ca and client in hosts.toml, or in the map"})
	}
	return append(found, ns.secrets(file, v)...)
}

// unnamed returns the certificates in Docker's layout that containerd ignores, because
// hosts.toml does not name them.
func (ns Namespace) unnamed(v hosts.Version) []string {
	certs := hosts.FindCerts(ns.Files)
	if certs.None() || hosts.ReadsCerts(ns.Hosts, v) {
		return nil
	}
	endpoints, _ := hosts.Read(ns.Hosts, hosts.HostOf(ns.Name), v)
	named := map[string]bool{}
	name := func(file string) {
		// Path may begin with another root, and a relative file is of this directory.
		if dir, base := path.Split(path.Clean(file)); strings.HasSuffix(ns.Path+"/", dir) {
			named[base] = true
		}
	}
	for _, e := range endpoints {
		for _, file := range e.CA {
			name(file)
		}
		for _, pair := range e.Client {
			name(pair[0])
			name(pair[1])
		}
	}
	return slices.DeleteFunc(certs.Files(), func(file string) bool { return named[file] })
}

// host names the host that containerd uses the directory for.
func (ns Namespace) host() string {
	if ns.Name == hosts.Default {
		return "every registry without a directory of its own"
	}
	return hosts.HostOf(ns.Name)
}

// noDir reports a file with the name of a host. Pulls from that host fail, but the name
// may not be meant as a host at all.
func (ns Namespace) noDir() []Finding {
	if ns.Name == hosts.Default {
		return []Finding{{HostsUnreadable, ns.Path, ns.NoDir + ", so every pull of " + ns.host() + " fails", "remove it"}}
	}
	host := ns.host()
	if _, err := mirror.ParseSource(host); err != nil || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return nil
	}
	return []Finding{{NotADirectory, ns.Path, fmt.Sprintf("%s, so every pull of an image of %s fails", ns.NoDir, host), "put a directory with a hosts.toml there, or remove it"}}
}

// without reports a directory without a hosts.toml: it hides _default.
func (ns Namespace) without(there map[string]bool) []Finding {
	if ns.Name == hosts.Default || !there[hosts.Default] || !hosts.FindCerts(ns.Files).None() {
		return nil
	}
	return []Finding{{EmptyDirectory, ns.Path, fmt.Sprintf("it has no hosts.toml, but still hides _default, so images of %s come from the source itself", ns.host()), "remove the directory"}}
}

// secrets checks who can read a secret header, and which registry gets a credential
// although it should not.
func (ns Namespace) secrets(file string, v hosts.Version) []Finding {
	endpoints, err := hosts.Read(ns.Hosts, hosts.HostOf(ns.Name), v)
	if err != nil {
		return nil
	}
	var found []Finding
	for _, e := range endpoints {
		for name := range e.Header {
			if mirror.IsSecretHeader(name) && ns.Mode.Perm()&0o077 != 0 && !slices.ContainsFunc(found, func(f Finding) bool { return f.Name == WorldReadableSecret }) {
				found = append(found, Finding{WorldReadableSecret, file, fmt.Sprintf("every user of the node can read the header %s in it", name), "chmod 0600 " + file})
			}
		}
	}
	if hosts.OwnerOf(ns.Hosts) == hosts.Ours {
		return found
	}
	found = append(found, overHTTP(file, endpoints)...)
	if len(endpoints) < 2 {
		return found
	}
	for _, e := range endpoints[:len(endpoints)-1] {
		h, err := mirror.ParseHost(e.Host)
		if _, acr := h.ACRSuffix(); err == nil && acr && endpoints[len(endpoints)-1].Source {
			return append(found, Finding{FallbackOffersCredential, file, fmt.Sprintf("after %s containerd falls back to the source itself and offers it the mirror's credential", e.Host),
				"write server = \"https://" + e.Host + "\" above the first table"})
		}
	}
	return found
}

// overHTTP reports secret headers that containerd sends unencrypted. The plan reports those
// of the map.
func overHTTP(file string, endpoints []hosts.Endpoint) []Finding {
	var found []Finding
	for _, e := range endpoints {
		if e.Source || e.Scheme != "http" && !e.Fallback {
			continue // what goes to the source is another finding
		}
		for _, name := range slices.Sorted(maps.Keys(e.Header)) {
			if mirror.IsSecretHeader(name) {
				found = append(found, Finding{SecretOverHTTP, file, fmt.Sprintf("containerd sends the header %s to %q unencrypted, so anyone on the network can read it", name, "http://"+e.Host),
					"serve that registry over https, and write https:// here"})
				break
			}
		}
	}
	return found
}
