package importer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// backup is where Spegel keeps the tree that it found.
const backup = "_backup"

// tree imports a directory of hosts.toml files as containerd reads it.
func (d *draft) tree(name, path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	if there[hosts.FileName] {
		return d.file(filepath.Join(name, hosts.FileName), filepath.Join(path, hosts.FileName))
	}
	found := false
	for _, e := range entries {
		dir := filepath.Join(path, e.Name())
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue // containerd picks a directory for a host
		}
		shown := filepath.Join(name, e.Name())
		if e.Name() == backup {
			d.lose(place{shown, 0}, "this is another program's copy of an earlier tree, which containerd does not read; to use it, import this directory itself")
			continue
		}
		host := hosts.HostOf(e.Name())
		if picked, ok := hosts.Pick(host, func(name string) bool { return there[name] }); ok && picked != e.Name() {
			d.lose(place{shown, 0}, "containerd does not read it, since %s is there", picked)
			continue
		}
		file := filepath.Join(dir, hosts.FileName)
		data, err := input.ReadFile(file, 0)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		found = true
		if err := d.namespace(e.Name(), filepath.Join(shown, hosts.FileName), dir, data); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s: there is no directory with a hosts.toml in it", name)
	}
	return nil
}

// anyHost stands for the host of an image without its own directory. No
// registry can have this name.
const anyHost = "any.invalid"

// namespace imports a directory of the tree. data is its hosts.toml.
func (d *draft) namespace(name, file, dir string, data []byte) error {
	host, source := hosts.HostOf(name), hosts.HostOf(name)
	if source == "*" {
		host = anyHost
	}
	at := place{file, 0}
	if folded := strings.ToLower(host); folded != host {
		d.lose(at, "images that spell the host %q are looked up here and no others; a map's source is in lower case, so they are left out", host)
		return nil
	}
	if host == "index.docker.io" {
		d.lose(at, "containerd looks up docker.io for such images, so this is never read")
		return nil
	}
	if hosts.OwnerOf(data) != hosts.Foreign {
		d.lose(at, "mirrorcred made this file; it is in the map that it was made from")
		return nil
	}
	endpoints, err := hosts.Read(data, host, hosts.Version{})
	if err != nil {
		d.lose(at, "containerd refuses this file, so images of %s come from the source itself: %v", source, textOf(err))
	}
	if err == nil && len(data) > 0 {
		d.ignored(file, data)
	}
	r := route{place: at, source: source, notes: []string{file}}
	for _, e := range endpoints {
		line := lineOf(data, e.Host)
		t, ok := d.endpoint(place{file, line}, dir, source, e)
		if !ok {
			continue
		}
		if i := slices.IndexFunc(r.targets, func(other target) bool { return other.host == t.host }); i >= 0 {
			if r.targets[i].name != t.name || !reflect.DeepEqual(r.targets[i].settings, t.settings) {
				d.lose(place{file, line}, "%s is left out here: a mirror has one target on a host and port, since containerd keeps one token for it", t.name)
			}
			continue
		}
		r.targets = append(r.targets, t)
	}
	if hosts.ReadsCerts(data, hosts.Version{}) {
		d.certs(at, dir, source, &r)
	}
	d.route(r)
	return nil
}

// certs imports the files in Docker's layout, which are for the source itself.
func (d *draft) certs(at place, dir, source string, r *route) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.lose(at, "%v", err)
		return
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	certs := hosts.FindCerts(names)
	for i := range r.targets {
		t := &r.targets[i]
		if !t.self {
			continue
		}
		for _, name := range certs.CA {
			t.settings.ca = append(t.settings.ca, filepath.Join(dir, name))
		}
		for _, pair := range certs.Client {
			if pair[1] == "" {
				d.lose(at, "%s has no key beside it, and containerd fails each pull for it", pair[0])
				continue
			}
			t.settings.client = append(t.settings.client, [2]string{filepath.Join(dir, pair[0]), filepath.Join(dir, pair[1])})
		}
	}
}

// endpoint returns a registry that containerd calls as a target of the map.
// False means that the map cannot have it, which is reported.
func (d *draft) endpoint(at place, dir, source string, e hosts.Endpoint) (target, bool) {
	t := target{self: e.Source || e.Scheme == "https" && e.Path == "/v2" && hosts.Serves(e.Host, source), host: e.Host, name: e.Host}
	if e.Fallback && !e.Source {
		e.Scheme, e.SkipVerify, e.CA, e.Client = "http", false, nil, nil
		d.lose(at, "%s: containerd tries https before http because of the TLS settings on its http:// address; the map has plain http", e.Host)
	}
	if !t.self {
		name, prefix, err := nameOf(e.Scheme, e.Host, e.Path)
		if err != nil {
			d.lose(at, "%s is left out: %v", e.Host, err)
			return target{}, false
		}
		t.name, t.prefix = name, prefix
	} else {
		t.host, t.name = source, source
	}
	if e.Source && e.Fallback {
		return t, true // containerd's own rule for localhost
	}
	t.settings = settings{skipVerify: e.SkipVerify, dialTimeout: e.DialTimeout, header: d.harmless(at, e)}
	for _, ca := range e.CA {
		t.settings.ca = append(t.settings.ca, absolute(dir, ca))
	}
	for _, pair := range e.Client {
		key := pair[1]
		if key == "" {
			key = pair[0]
		}
		t.settings.client = append(t.settings.client, [2]string{absolute(dir, pair[0]), absolute(dir, key)})
	}
	if !pullsAndResolves(e.Capabilities) {
		t.settings.capabilities = e.Capabilities
	}
	return t, true
}

// pullsAndResolves reports whether capabilities include the map's default.
func pullsAndResolves(capabilities []string) bool {
	return slices.Contains(capabilities, "pull") && slices.Contains(capabilities, "resolve")
}

// harmless returns the headers of a registry that are not secret. The others
// are a loss, and their values are not repeated.
func (d *draft) harmless(at place, e hosts.Endpoint) map[string][]string {
	var kept map[string][]string
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		if mirror.IsSecretHeader(name) {
			d.lose(at, "the header %s of %s is left out, since it may be a secret; write its value alone into a file of mode 0600 and, under [registry.%s], header = { %s = { file = \"/etc/mirrorcred/NAME.header\" } }",
				oneLine(name), e.Host, quote(e.Host), quote(name))
			continue
		}
		if kept == nil {
			kept = make(map[string][]string)
		}
		kept[name] = e.Header[name]
	}
	return kept
}

// ignored reports what containerd ignores in a hosts.toml. The map has what
// containerd really does.
func (d *draft) ignored(file string, data []byte) {
	for _, r := range hosts.Remarks(data, hosts.Version{}) {
		switch r.Name {
		case hosts.KeyAfterTable, hosts.KeyUnknown, hosts.RewriteUnknown, hosts.DottedTableDropped:
			d.lose(place{file, r.Line}, "%s; the map leaves it out too", r.Text)
		}
	}
}
