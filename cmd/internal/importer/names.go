package importer

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// nameOf returns a registry as the map names it, and the repository prefix in
// that name. path is the path of its API.
func nameOf(scheme, host, path string) (name, prefix string, err error) {
	if scheme == "" {
		return "", "", fmt.Errorf("containerd sees no scheme in its address; write https://%s in the map", host)
	}
	address := host
	if scheme != "https" {
		address = scheme + "://" + host
	}
	switch below, ok := strings.CutPrefix(path, "/v2"); {
	case ok && below == "":
		return address, "", nil
	case ok && below[0] == '/':
		return address + below, strings.Trim(below, "/"), nil
	case strings.HasSuffix(path, "/v2"):
		return scheme + "://" + host + path, "", nil
	}
	return "", "", fmt.Errorf("its API is at %q, and a map has it at /v2, at /v2/PREFIX, or at PATH/v2", path)
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// hostIn returns the host[:port] of an address with or without a scheme.
func hostIn(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		address = address[i+1:]
	}
	return address
}

// withoutLogin returns an address without a user and password.
func withoutLogin(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "", address
	} else {
		scheme += "://"
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if path != "" {
		path = "/" + path
	}
	return scheme + authority + path
}

// lineOf returns the first line of a hosts.toml that names a host as a
// registry, or 0.
func lineOf(data []byte, host string) int {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		text := strings.TrimSpace(line)
		if (strings.HasPrefix(text, "[host.") || strings.HasPrefix(text, "server")) && strings.Contains(text, host) {
			return n
		}
	}
	return 0
}

// lineWith returns the first line that contains a text, or 0.
func lineWith(data []byte, text string) int {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if strings.Contains(line, text) {
			return n
		}
	}
	return 0
}

func textOf(err error) string {
	texts := make([]string, 0, 1)
	for _, one := range all(err) {
		text := one.Error()
		if f, ok := one.(*mirror.Fault); ok {
			text = f.Text
			if f.Line > 0 {
				text = fmt.Sprintf("line %d: %s", f.Line, text)
			}
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; and ")
}
