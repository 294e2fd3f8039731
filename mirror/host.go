package mirror

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Host is a registry host: a DNS name or an IP address, with an optional
// port and no scheme, such as "mcr.microsoft.com", "harbor.corp:8443" or
// "[2001:db8::1]:5000". Hosts made by [ParseHost] are in lower case. The zero
// Host is invalid. Hosts are comparable.
type Host struct{ name string }

// ParseHost returns the host that s names, in lower case, its port kept as
// written. The error says what to write instead.
func ParseHost(s string) (Host, error) {
	if s == "" {
		return Host{}, errors.New("a host is missing; write host[:port] first, such as \"contoso.azurecr.io\"")
	}
	if i := strings.Index(s, "://"); i >= 0 {
		return Host{}, fmt.Errorf("a host has no scheme; write %q", s[i+len("://"):])
	}
	if strings.Contains(s, "@") {
		// The value is not repeated: it may hold a password.
		return Host{}, errors.New("a host has no user or password; name a credential under [registry] instead")
	}
	if host, _, ok := strings.Cut(s, "/"); ok {
		return Host{}, fmt.Errorf("a host has no path; write %q", host)
	}
	hostname, port, err := splitPort(s)
	if err != nil {
		return Host{}, err
	}
	hostname, err = parseHostname(hostname)
	if err != nil {
		return Host{}, err
	}
	if port != "" {
		hostname += ":" + port
	}
	return Host{hostname}, nil
}

// splitPort cuts s into the hostname, brackets kept, and the port, which is
// empty where s has none.
func splitPort(s string) (hostname, port string, err error) {
	rest := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", errors.New("an IPv6 address lacks its closing bracket; write it as \"[2001:db8::1]:5000\"")
		}
		hostname, rest = s[:end+1], s[end+1:]
	}
	switch strings.Count(rest, ":") {
	case 0:
		return hostname + rest, "", nil
	case 1:
		before, after, _ := strings.Cut(rest, ":")
		port, err = parsePort(after)
		return hostname + before, port, err
	}
	return "", "", errors.New("an IPv6 address needs brackets; write it as \"[2001:db8::1]:5000\"")
}

func parsePort(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return strconv.FormatUint(n, 10), nil
}

// parseHostname checks a hostname without its port and folds its case.
func parseHostname(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		inner, tail, _ := strings.Cut(s[1:], "]")
		addr, err := netip.ParseAddr(inner)
		if err != nil || !addr.Is6() || tail != "" {
			return "", fmt.Errorf("%q is not an IPv6 address in brackets", s)
		}
		if addr.Zone() != "" {
			return "", errors.New("an IPv6 address here has no zone; image names have no room for one")
		}
		return "[" + addr.String() + "]", nil
	}
	if s == "" {
		return "", errors.New("a host is missing; write host[:port] first, such as \"contoso.azurecr.io\"")
	}
	if len(s) > 253 {
		return "", errors.New("a host name has at most 253 characters")
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	return strings.ToLower(s), nil
}

// checkLabel checks one label of a DNS name: the grammar of image names, and the
// length of RFC 1035, section 2.3.4.
func checkLabel(label string) error {
	if len(label) > 63 {
		return fmt.Errorf("label %q is longer than 63 characters", label)
	}
	return checkLabelGrammar(label)
}

// checkLabelGrammar holds a label against github.com/distribution/reference
// v0.6.0, regexp.go, domainNameComponent.
func checkLabelGrammar(label string) error {
	if label == "" {
		return errors.New("a host name has an empty label; look for a dot too many")
	}
	for _, r := range label {
		switch {
		case r >= 0x80:
			return errors.New("an internationalised name cannot stand in an image name; write its ASCII form, which begins with \"xn--\"")
		case r == '*':
			return errors.New("a host has no wildcard; containerd knows only \"*\" alone, for every registry without a mirror of its own")
		case !isAlnum(byte(r)) && r != '-':
			return fmt.Errorf("%q cannot stand in a host name", string(r))
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("label %q begins or ends with a hyphen", label)
	}
	return nil
}

func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// String returns the host as host[:port].
func (h Host) String() string { return h.name }

// Hostname returns the host without its port, an IPv6 address in brackets.
func (h Host) Hostname() string {
	if port := h.Port(); port != "" {
		return h.name[:len(h.name)-len(port)-1]
	}
	return h.name
}

// Port returns the port as digits, or "" where the host has none.
func (h Host) Port() string {
	i := strings.LastIndexByte(h.name, ':')
	if i < 0 || strings.HasSuffix(h.name, "]") {
		return ""
	}
	return h.name[i+1:]
}

// withoutPort returns h without its port where that is port, the default one
// of its scheme.
func (h Host) withoutPort(port string) Host {
	if h.Port() == port {
		return Host{h.Hostname()}
	}
	return h
}
