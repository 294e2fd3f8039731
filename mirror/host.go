package mirror

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Host is a registry host: a DNS name or an IP address, with an optional port
// and no scheme, such as "mcr.microsoft.com", "harbor.corp:8443" or
// "[2001:db8::1]:5000". [ParseHost] makes it lower case. The zero Host is
// invalid. Hosts are comparable.
type Host struct{ name string }

// ParseHost returns the host that s names, in lower case, with its port as
// written. The error says what to write instead.
func ParseHost(s string) (Host, error) {
	if s == "" {
		return Host{}, errors.New("a host is missing; write host[:port] first, such as \"contoso.azurecr.io\"")
	}
	if err := errMore("a host", s); err != nil {
		return Host{}, err
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return Host{}, insteadOf("a host has no scheme", rest)
	}
	if strings.Contains(s, "/") {
		return Host{}, insteadOf("a host has no path", s)
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

// insteadOf says what to write for a host with more around it.
func insteadOf(fault, s string) error {
	name, _, _ := strings.Cut(s, "/")
	host, err := ParseHost(name)
	if err != nil {
		return fmt.Errorf("%s; write host[:port] alone, such as \"contoso.azurecr.io\"", fault)
	}
	return fmt.Errorf("%s; write %q", fault, host)
}

// splitPort cuts s into the hostname, brackets kept, and the port, which is
// empty if s has none.
func splitPort(s string) (hostname, port string, err error) {
	rest := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", errors.New("an IPv6 address has no closing bracket; write it like \"[2001:db8::1]:5000\"")
		}
		hostname, rest = s[:end+1], s[end+1:]
	}
	switch strings.Count(rest, ":") {
	case 0:
		return hostname + rest, "", nil
	case 1:
		before, after, _ := strings.Cut(rest, ":")
		if port, err = parsePort(after); err != nil {
			return "", "", portError(err, hostname+before)
		}
		return hostname + before, port, nil
	}
	return "", "", errors.New("an IPv6 address needs brackets; write it like \"[2001:db8::1]:5000\"")
}

// portError says what to write instead of a host with a wrong port, which may
// well be a tag.
func portError(err error, hostname string) error {
	if h, hostErr := parseHostname(hostname); hostErr == nil {
		return fmt.Errorf("%w; write %q, or a port behind it", err, h)
	}
	return err
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
			return "", errors.New("an IPv6 address has a zone, which image names cannot have; remove it")
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

// checkLabelGrammar checks a label against domainNameComponent of
// github.com/distribution/reference (v0.6.0, regexp.go).
func checkLabelGrammar(label string) error {
	if label == "" {
		return errors.New("a host name has an empty label; remove the extra dot")
	}
	for _, r := range label {
		switch {
		case r >= 0x80:
			return errors.New("image names hold ASCII host names only; write the ASCII form, which begins with \"xn--\"")
		case r == '*':
			return errors.New("a host has no wildcard; write each host, or \"*\" alone for every registry without a mirror of its own")
		case !isAlnum(byte(r)) && r != '-':
			return fmt.Errorf("%q is not allowed in a host name", string(r))
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

// Port returns the port as digits, or "" if the host has none.
func (h Host) Port() string {
	i := strings.LastIndexByte(h.name, ':')
	if i < 0 || strings.HasSuffix(h.name, "]") {
		return ""
	}
	return h.name[i+1:]
}

// withoutPort returns h without its port if that is port, the default of its
// scheme.
func (h Host) withoutPort(port string) Host {
	if h.Port() == port {
		return Host{h.Hostname()}
	}
	return h
}
