package importer

import (
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// providers imports the mirrors that a kubelet's configuration passes to a
// provider, as AKS does for acr-credential-provider.
func (d *draft) providers(file string, data []byte) error {
	entries, err := kubeletconfig.Read(kubeletconfig.File{Name: file, Data: data})
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		config := ""
		for i, arg := range e.Args {
			value, ok := strings.CutPrefix(arg, "--registry-mirror=")
			if !ok && arg == "--registry-mirror" && i+1 < len(e.Args) {
				value, ok = e.Args[i+1], true
			}
			switch {
			case ok && strings.HasPrefix(value, "@"): // mirrorcred's own routes
			case ok:
				found = true
				d.mappings(file, e.Line, value)
			case !strings.HasPrefix(arg, "-") && config == "":
				config = arg
			}
		}
		if found && config != "" && config != mirror.DefaultAzureConfig && len(d.credentials) == 0 {
			d.credentials = append(d.credentials, login{"azure", string(mirror.Azure), config})
		}
	}
	if !found {
		return fmt.Errorf("%s: no provider in it has a --registry-mirror argument, so there is nothing to import; its providers are kept beside mirrorcred's as they are", file)
	}
	return nil
}

// mappings imports the value of a --registry-mirror flag.
func (d *draft) mappings(file string, line int, value string) {
	at := place{file, line}
	list, faults := credential.ParseMappings(value)
	for _, err := range faults {
		d.lose(at, "%s", strings.TrimPrefix(err.Error(), file+": ")) // both may name the flag
	}
	for _, m := range list {
		host, path, _ := strings.Cut(m.Source, "/")
		if path != "" {
			d.lose(at, "only images below %s have this mirror; containerd routes by the host alone, so it is left out", m.Source)
			continue
		}
		name := m.Target
		targetHost, prefix, _ := strings.Cut(hostAndPath(name), "/")
		d.route(route{place: at, source: strings.ToLower(host), targets: []target{{name: name, host: targetHost, prefix: prefix}},
			notes: []string{"The flag does not say whether containerd may fall back to the source; this map does not."}})
	}
}

// hostAndPath returns an address without its scheme.
func hostAndPath(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		return rest
	}
	return address
}
