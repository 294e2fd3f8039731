package hosts

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Options say how to render a map. The zero value renders what every
// supported containerd reads.
type Options struct {
	// Version is the containerd to render for; the zero Version for all.
	Version Version
	// Secrets are the values of the headers that the map takes from files,
	// by the files' paths.
	Secrets map[string]string
}

// Render returns the files of a map, one for each mirror and in their order. It
// fails where a header's file is not among the secrets or holds what no header
// can, and where the containerd cannot be told of a target.
func Render(m *mirror.Map, o Options) ([]File, error) {
	files := make([]File, 0, len(m.Mirrors))
	r := renderer{Options: o}
	for _, one := range m.Mirrors {
		r.body = r.body[:0]
		r.mirror(one)
		if r.err != nil {
			return nil, r.err
		}
		files = append(files, File{one.Source, Namespace(one.Source), seal(r.body), one.Secret()})
	}
	return files, nil
}

// A renderer writes the body of one file. It appends, without fmt: there may be
// thousands of files, rendered again at each look at the node.
//
// Not a TOML encoder: containerd tries the hosts in the order of the file, and
// encoders do not keep the order of map keys.
type renderer struct {
	Options
	body []byte
	err  error
}

// mirror writes the targets: the last one as server in the root table, the
// others as [host] tables. Where the last one is the source itself, server is
// left out and containerd fills the source in.
func (r *renderer) mirror(m mirror.Mirror) {
	hosts, last := m.Targets[:len(m.Targets)-1], m.Targets[len(m.Targets)-1]
	if !isImplied(last) {
		r.line("server = ", quote(address(last)))
		r.settings(last)
	} else {
		r.requests(last.Settings)
	}
	if len(r.body) > 0 {
		r.line()
	}
	for i, t := range hosts {
		if i > 0 {
			r.line()
		}
		if hasBracket(address(t)) && !r.Version.readsBrackets() {
			r.fail("mirror of %q: target %q: containerd 1.7 ignores a file with an IPv6 address before the last target; put it last, name the host, or write version = \"2.0\" under [containerd]", m.Source, t)
		}
		r.line("[host.", quote(address(t)), "]")
		r.settings(t)
	}
	if len(hosts) == 0 {
		// Without a host table 1.7.31 and earlier refuse the file.
		r.line("[host]")
	}
}

// line writes a line, whose parts are given.
func (r *renderer) line(parts ...string) {
	for _, part := range parts {
		r.body = append(r.body, part...)
	}
	r.body = append(r.body, '\n')
}

// fail keeps the first error.
func (r *renderer) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// isImplied reports whether containerd is left to find out how to reach a last
// target. For the source itself that keeps what is special to some hosts, such
// as plain http on localhost; its capabilities would then not be read, and TLS
// settings would be mixed with its own.
func isImplied(t mirror.Target) bool {
	s := t.Settings
	return t.Self() && t.Scheme() == "https" &&
		len(s.CA) == 0 && len(s.Client) == 0 && !s.SkipVerify && len(s.Capabilities) == 0
}

// address returns the address that containerd is given: always with a scheme,
// never with a slash at the end. A path is that of the API and goes with
// override_path.
func address(t mirror.Target) string {
	s := t.Scheme() + "://" + t.Host().String()
	if t.API() != "/v2" {
		s += t.API()
	}
	return s
}

// settings writes all that is said of a target but its address.
func (r *renderer) settings(t mirror.Target) {
	s := t.Settings
	r.line("capabilities = ", quoteList(r.capabilities(s.Capabilities)))
	if t.API() != "/v2" {
		r.line("override_path = true")
	}
	if len(s.CA) > 0 {
		r.line("ca = ", quoteList(s.CA))
	}
	if len(s.Client) > 0 {
		pairs := make([]string, len(s.Client))
		for i, pair := range s.Client {
			if pair[1] == "" {
				// Of a pair containerd would take "" for the
				// directory of hosts.toml, and fail the pull.
				pair[1] = pair[0]
			}
			pairs[i] = quoteList(pair[:])
		}
		r.line("client = [", strings.Join(pairs, ", "), "]")
	}
	if s.SkipVerify {
		r.line("skip_verify = true")
	}
	r.requests(s)
}

// requests writes the settings that are neither the registry's capabilities nor
// of its TLS.
func (r *renderer) requests(s mirror.Settings) {
	if s.DialTimeout > 0 {
		r.line("dial_timeout = ", quote(s.DialTimeout.String()))
	}
	r.header(s.Header)
}

// capabilities returns those to write: by default what a pull needs.
func (r *renderer) capabilities(said []string) []string {
	if len(said) == 0 {
		said = []string{"pull", "resolve", "referrers"}
	}
	if r.Version.readsReferrers() {
		return said
	}
	return slices.DeleteFunc(slices.Clone(said), func(c string) bool { return c == "referrers" })
}

// header writes the headers inline: as a sub-table they would have to follow
// their table at once, which for the root is not possible.
func (r *renderer) header(headers []mirror.Header) {
	if len(headers) == 0 {
		return
	}
	entries := make([]string, len(headers))
	for i, h := range headers {
		values := h.Values
		if h.File != "" {
			value, ok := r.Secrets[h.File]
			switch {
			case !ok:
				r.fail("header %s: its file %s was not read", h.Name, h.File)
			case !utf8.ValidString(value) || !mirror.IsHeaderValue(value):
				r.fail("header %s: its file %s holds a control character or is not UTF-8; write the value alone, in one line", h.Name, h.File)
			}
			values = []string{value}
		}
		entries[i] = quote(h.Name) + " = " + quoteList(values)
	}
	r.line("header = { ", strings.Join(entries, ", "), " }")
}

func quoteList(list []string) string {
	text := []byte{'['}
	for i, s := range list {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = appendQuoted(text, s)
	}
	return string(append(text, ']'))
}

// quote returns s as a TOML basic string.
func quote(s string) string { return string(appendQuoted(make([]byte, 0, len(s)+2), s)) }

func appendQuoted(text []byte, s string) []byte {
	text = append(text, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			text = append(text, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			text = fmt.Appendf(text, "\\u%04X", r)
		default:
			text = utf8.AppendRune(text, r)
		}
	}
	return append(text, '"')
}
