package hosts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Options say how to render a map. The zero value renders files that every
// supported containerd reads.
type Options struct {
	// Version is the containerd to render for; the zero Version means all.
	Version Version
	// Secrets are the values of the headers that are not in the map, by
	// [mirror.Header.Source].
	Secrets map[string]string
}

// Render returns the files of a map: one for each mirror, in their order. It
// fails if the value of a header's file is missing from the secrets or cannot
// be a header, and if this version of containerd cannot express a target. The
// error is a *[mirror.Fault] with the line of the map.
func Render(m *mirror.Map, o Options) ([]File, error) {
	files := make([]File, 0, len(m.Mirrors))
	r := NewRenderer(m, o)
	for _, one := range m.Mirrors {
		file, err := r.Render(one)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// A Renderer renders the mirrors of a map one by one. It is for one goroutine.
type Renderer struct{ r renderer }

// NewRenderer returns a renderer of the mirrors of m.
func NewRenderer(m *mirror.Map, o Options) *Renderer { return &Renderer{renderer{Options: o, m: m}} }

// Render returns the file of one mirror of the map. It fails as [Render] does.
func (r *Renderer) Render(one mirror.Mirror) (File, error) {
	r.r.body, r.r.err = r.r.body[:0], nil
	r.r.mirror(one)
	if r.r.err != nil {
		return File{}, r.r.err
	}
	return File{one.Source, Namespace(one.Source), seal(r.r.body), one.Secret()}, nil
}

// A renderer writes the body of one file. It appends, without fmt: there may be
// thousands of files, and each reconcile renders them again.
//
// Not a TOML encoder: containerd tries the hosts in the order of the file, and
// encoders do not keep the order of map keys.
type renderer struct {
	Options
	m    *mirror.Map
	at   int // line of the mirror that is rendered
	body []byte
	err  error
}

// mirror writes the targets: the last one as server in the root table, the
// others as host tables. If the last one is the source itself, server is left
// out and containerd fills the source in.
func (r *renderer) mirror(m mirror.Mirror) {
	r.at = m.Line
	hosts, last := m.Targets[:len(m.Targets)-1], m.Targets[len(m.Targets)-1]
	if !isImplied(last) {
		r.line("server = ", quote(address(last)))
		r.settings(last)
	} else {
		r.requests(last)
	}
	if len(r.body) > 0 {
		r.line()
	}
	for i, t := range hosts {
		if i > 0 {
			r.line()
		}
		if hasBracket(address(t)) && !readsBrackets(r.Version) {
			r.fail(0, "mirror of %q: target %q: containerd 1.7 ignores a file with an IPv6 address before the last target; put it last, name the host, or write version = \"2.0\" under [containerd]", m.Source, t)
		}
		r.line("[host.", quote(address(t)), "]")
		r.settings(t)
	}
	if len(hosts) == 0 {
		// Without a host table 1.7.31 and earlier refuse the file.
		r.line("[host]")
	}
}

// line writes a line that consists of the given parts.
func (r *renderer) line(parts ...string) {
	for _, part := range parts {
		r.body = append(r.body, part...)
	}
	r.body = append(r.body, '\n')
}

// fail keeps the first error. It is about a line of the map, 0 for that of the
// mirror.
func (r *renderer) fail(line int, format string, args ...any) {
	if r.err == nil {
		r.err = r.m.Fault(cmp.Or(line, r.at), format, args...)
	}
}

// isImplied reports whether a last target is left out of the file, so that
// containerd fills in the source by its own rules, such as plain http on
// localhost. A target with capabilities or TLS settings cannot be left out:
// containerd would ignore the first and mix the others with its own. Nor can one with
// a credential in its header: that header stands only beside the address that it is for.
func isImplied(t mirror.Target) bool {
	s := t.Settings
	return t.Self() && t.Scheme() == "https" &&
		len(s.CA) == 0 && len(s.Client) == 0 && !s.SkipVerify && len(s.Capabilities) == 0 &&
		!slices.ContainsFunc(s.Header, func(h mirror.Header) bool { return h.Delivered != "" })
}

// address returns the address as it is written for containerd: always with a
// scheme, never with a slash at the end. If it has a path, that is the API's and
// needs override_path.
func address(t mirror.Target) string {
	s := t.Scheme() + "://" + t.Host().String()
	if t.API() != "/v2" {
		s += t.API()
	}
	return s
}

// settings writes everything about a target except its address.
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
	r.requests(t)
}

// requests writes the settings of the requests: the time to connect and the
// headers.
func (r *renderer) requests(t mirror.Target) {
	s := t.Settings
	if s.DialTimeout > 0 {
		if t.Scheme() == "http" && mayDialWithTLS(r.Version) {
			r.fail(t.Line("dial_timeout"), "dial_timeout: target %q is plain http, and with this setting containerd 2.0 tries https first; leave it out, or write the version of a containerd that does not, such as version = \"2.2\", under [containerd]", t)
		}
		r.line("dial_timeout = ", quote(s.DialTimeout.String()))
	}
	r.header(t)
}

// capabilities returns those to write: by default what a pull needs.
func (r *renderer) capabilities(said []string) []string {
	if len(said) == 0 {
		said = []string{"pull", "resolve", "referrers"}
	}
	if readsReferrers(r.Version) {
		return said
	}
	return slices.DeleteFunc(slices.Clone(said), func(c string) bool { return c == "referrers" })
}

// header writes the headers inline. A sub-table would have to follow its table
// directly, and below the root table there is no room for that.
func (r *renderer) header(t mirror.Target) {
	headers := t.Settings.Header
	if len(headers) == 0 {
		return
	}
	entries := make([]string, len(headers))
	for i, h := range headers {
		values := h.Values
		if from := h.Source(); from != "" {
			value, ok := r.Secrets[from]
			switch {
			case !ok:
				r.fail(t.Line("header"), "header %s: its file %s was not read", h.Name, from)
			case !utf8.ValidString(value) || !mirror.IsHeaderValue(value):
				r.fail(t.Line("header"), "header %s: its file %s holds a control character or is not UTF-8; write the value alone, in one line", h.Name, from)
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
