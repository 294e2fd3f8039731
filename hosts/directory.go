package hosts

import (
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Pick returns the directory that containerd reads for a host, and false if
// there is none. there reports whether a name exists in hosts_dir, following
// links: a file counts, and makes the pull fail; a dangling link does not.
func Pick(host string, there func(name string) bool) (string, bool) {
	for _, name := range Candidates(host) {
		if there(name) {
			return name, true
		}
	}
	return "", false
}

// Shadowed returns the directories that containerd reads for this source alone
// and stops reading once the generated one exists: host:port, as containerd looks
// for host_port_ first.
func Shadowed(s mirror.Source) []string {
	if s.Any() {
		return nil
	}
	host := s.String()
	if !strings.Contains(host, ":") {
		return nil // most sources, without the list that Candidates makes
	}
	names := Candidates(host)
	return names[1 : len(names)-1]
}

// ReadsCerts reports whether containerd looks for certificates in Docker's
// layout in a directory with the hosts.toml data. It does if there is no
// hosts.toml, if the file is empty, and if containerd rejects it.
func ReadsCerts(data []byte, v Version) bool {
	if len(data) == 0 {
		return true
	}
	_, refused := Read(data, "", v)
	return refused != nil
}

// Certs are the files of a directory that are in Docker's layout. containerd
// uses them when it calls the source itself (loadCertFiles in
// core/remotes/docker/config/hosts.go of v2.4.2).
type Certs struct {
	CA     []string    // *.crt
	Client [][2]string // *.cert, and the .key of the same name, "" if there is none
	// Keys are those without a certificate, such as half of a pair that another
	// program still writes. containerd does not read them.
	Keys []string
}

// FindCerts returns the files in Docker's layout among names. names are those
// of a directory's entries, without directories.
func FindCerts(names []string) Certs {
	var c Certs
	for _, name := range names {
		if strings.HasSuffix(name, ".crt") {
			c.CA = append(c.CA, name)
		}
		if stem, ok := strings.CutSuffix(name, ".cert"); ok {
			pair := [2]string{name, ""}
			if slices.Contains(names, stem+".key") {
				pair[1] = stem + ".key"
			}
			c.Client = append(c.Client, pair)
		}
		if stem, ok := strings.CutSuffix(name, ".key"); ok && !slices.Contains(names, stem+".cert") {
			c.Keys = append(c.Keys, name)
		}
	}
	return c
}

// None reports whether there is no file in Docker's layout.
func (c Certs) None() bool { return len(c.CA)+len(c.Client)+len(c.Keys) == 0 }

// Files returns the names of all files.
func (c Certs) Files() []string {
	files := slices.Clone(c.CA)
	for _, pair := range c.Client {
		files = append(files, pair[0])
		if pair[1] != "" {
			files = append(files, pair[1])
		}
	}
	return append(files, c.Keys...)
}

// Settings returns the keys of the mirror map that mean the same as the files
// in dir, such as ca = ["/dir/ca.crt"]; "" if containerd reads none of the
// files.
func (c Certs) Settings(dir string) string {
	var keys []string
	in := func(name string) string { return dir + "/" + name }
	if len(c.CA) > 0 {
		paths := make([]string, len(c.CA))
		for i, name := range c.CA {
			paths[i] = in(name)
		}
		keys = append(keys, "ca = "+quoteList(paths))
	}
	if len(c.Client) > 0 {
		pairs := make([]string, len(c.Client))
		for i, pair := range c.Client {
			paths := []string{in(pair[0])}
			if pair[1] != "" {
				paths = append(paths, in(pair[1]))
			}
			pairs[i] = quoteList(paths)
		}
		keys = append(keys, "client = ["+strings.Join(pairs, ", ")+"]")
	}
	return strings.Join(keys, " and ")
}

// HostOf returns the host that containerd uses a directory for, by the directory's
// name: "harbor.corp:5000" for "harbor.corp_5000_". For [Default] it returns "*".
func HostOf(namespace string) string {
	if namespace == Default {
		return "*"
	}
	if base, ok := strings.CutSuffix(namespace, "_"); ok {
		if i := strings.LastIndexByte(base, '_'); i > 0 {
			return base[:i] + ":" + base[i+1:]
		}
	}
	return namespace
}
