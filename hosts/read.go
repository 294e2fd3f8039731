package hosts

import (
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// An Endpoint is one registry that containerd would call for an image. It is a
// RegistryHost of core/remotes/docker/registry.go (containerd v2.4.2), with the
// TLS settings that containerd keeps in its HTTP client.
type Endpoint struct {
	Scheme string // "https" or "http"; "" if containerd finds none in the address
	Host   string // host[:port]
	Path   string // of the API, such as "/v2"
	// Capabilities are some of "pull", "resolve", "push", "referrers", in
	// this order.
	Capabilities []string
	Header       map[string][]string // names as they are written
	CA           []string            // as written, so relative to the file's directory
	Client       [][2]string         // certificate and key, as written; no key means that it is in the certificate's file
	SkipVerify   bool
	DialTimeout  time.Duration // 0 means containerd's default
	// Fallback says that containerd tries http if https fails.
	Fallback bool
	// Source says that this is the source itself, which containerd adds.
	Source bool
}

// Read returns the registries that containerd calls, in its order, for images
// of host. host is as the images spell it (docker.io for Docker Hub). data is
// the hosts.toml of the directory that containerd picks. Empty data means that
// there is no file, and containerd calls the source itself.
//
// If containerd rejects a file, it logs that and ignores the file: Read then
// returns the source, and a [mirror.Fault] with the reason. Read knows the file
// alone. If a ca or client file cannot be loaded, the pull fails; without a
// valid hosts.toml, containerd loads the *.crt and *.cert files of the
// directory for the source. The caller must check both.
//
// The rules are those of ConfigureHosts, parseHostsFile and parseHostConfig in
// core/remotes/docker/config/hosts.go of v2.4.2 and in
// remotes/docker/config/hosts.go of v1.7.35. containerd 1.7 reads TOML with
// go-toml v1. Of that parser, Read follows only the order of host tables and
// the brackets in their names. What else is TOML to one of the two parsers
// only, and a key that is not in lower case, Read takes as 2.x does.
func Read(data []byte, host string, v Version) ([]Endpoint, error) {
	if v == (Version{}) {
		v = newest
	}
	entries, err := readFile(data, v)
	if len(entries) == 0 {
		entries = make([]entry, 1)
	}
	if last := &entries[len(entries)-1]; last.Host == "" {
		last.fillIn(host, v)
	}
	list := make([]Endpoint, len(entries))
	for i, e := range entries {
		e.settleScheme()
		list[i] = e.Endpoint
	}
	return list, err
}

// An entry is an Endpoint in the making.
type entry struct {
	Endpoint
	tls bool // it has TLS settings, even if only skip_verify = false
}

// readFile returns the entries of a file: its hosts, and last its root table.
func readFile(data []byte, v Version) ([]entry, error) {
	if len(data) == 0 {
		return nil, nil
	}
	f, err := decode(data, v)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, name := range f.order {
		e, err := f.entry(name, f.Hosts[name], "host", name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	root, err := f.entry(f.Server, f.settings)
	if err != nil {
		return nil, err
	}
	return append(entries, root), nil
}

// entry reads one table, whose key is at, for the registry at address.
func (f *file) entry(address string, s settings, at ...string) (entry, error) {
	e := entry{tls: s.CA != nil || s.SkipVerify != nil}
	e.SkipVerify = s.SkipVerify != nil && *s.SkipVerify
	var err error
	if e.Scheme, e.Host, e.Path, err = dial(address, s.OverridePath); err != nil {
		if len(at) == 0 {
			at = []string{"server"}
		}
		// The parser's own words could hold a password.
		return e, f.fault(at, "containerd cannot parse this address; write one like \"https://host:5000\"")
	}
	fail := func(key, format string, args ...any) error {
		return f.fault(append(slices.Clone(at), key), key+" "+format, args...)
	}
	if e.Capabilities, err = readCapabilities(s.Capabilities, f.version); err != nil {
		return e, fail("capabilities", "%v", err)
	}
	if e.CA, err = readPaths(s.CA); err != nil {
		return e, fail("ca", "%v", err)
	}
	if e.Client, err = readClient(s.Client); err != nil {
		return e, fail("client", "%v", err)
	}
	e.tls = e.tls || e.Client != nil
	if e.Header, err = readHeader(s.Header); err != nil {
		return e, fail("header", "%v", err)
	}
	if e.DialTimeout, err = readTimeout(s.DialTimeout, f.version); err != nil {
		return e, fail("dial_timeout", "%v", err)
	}
	if s.DialTimeout != nil && s.DialTimeout != "" && dialsWithTLS(f.version) {
		e.tls = true
	}
	return e, nil
}

// dial returns what containerd dials for an address as it is written. containerd
// takes an address that begins with "http" to have a scheme, even
// httpbin.example.com.
func dial(address string, override bool) (scheme, host, api string, err error) {
	if address == "" {
		return "", "", "", nil
	}
	if !strings.HasPrefix(address, "http") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", "", err
	}
	switch {
	case u.Path == "" && override:
	case u.Path == "":
		api = "/v2"
	default:
		api = path.Clean(u.Path)
		if !override && !strings.HasSuffix(api, "/v2") {
			api += "/v2"
		}
	}
	return u.Scheme, u.Host, api, nil
}

// dockerHub is the registry that serves the images of docker.io.
const dockerHub = "registry-1.docker.io"

// Serves reports whether registry, given as host[:port], is the one that serves
// the images of host if there is no mirror.
func Serves(registry, host string) bool {
	return registry == host || host == "docker.io" && registry == dockerHub
}

// fillIn makes e the source itself, as containerd does with a last entry that
// has no host. Its path and capabilities are not the file's, its TLS settings
// and headers are.
func (e *entry) fillIn(source string, v Version) {
	e.Source = true
	e.Scheme, e.Host, e.Path = "https", source, "/v2"
	e.Capabilities = capabilities(v)
	switch {
	case source == "docker.io":
		e.Host = dockerHub
	case isLocalhost(source):
		_, port, _ := net.SplitHostPort(source)
		if port != "" && port != "443" {
			e.Scheme = "http"
		}
		if port != "80" {
			e.SkipVerify, e.tls = true, true
		}
	}
}

// isLocalhost is IsLocalhost of core/remotes/docker/resolver.go, containerd
// v2.4.2. It is false for [::1] without a port.
func isLocalhost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// settleScheme turns an http address with TLS settings to https: containerd
// tries that first, unless the port is 80.
func (e *entry) settleScheme() {
	if e.Scheme != "http" || !e.tls {
		return
	}
	if _, port, _ := net.SplitHostPort(e.Host); port != "80" {
		e.Scheme, e.Fallback = "https", true
	}
}
